export interface ApkoCacheOptions {
  readonly cache?: string;
  readonly offline?: boolean;
}

export interface ApkoSourceOptions extends ApkoCacheOptions {
  /** By any of its names. */
  readonly arch?: string;
  /** As OCI names it, where there is no `arch`. */
  readonly platform?: string;
  readonly lockfile?: string;
  /** Added to the configuration's. */
  readonly annotation?: Readonly<Record<string, string>>;
  /** Whether the source may be a layer on a base image. */
  readonly onBase?: boolean;
}
