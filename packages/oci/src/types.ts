// The documents of image-spec 1.1, in the spec's order and with its names. Documents that were read keep properties that are
// not listed here; the checks of `check.ts` have passed before a value gets one of these types.

/** descriptor.md: what a blob is, how long it is, and its digest. */
export interface Descriptor {
  readonly mediaType: string;
  /** `sha256:` and 64 hexadecimal digits (`sha512:` and 128 when read). */
  readonly digest: string;
  /** In bytes. */
  readonly size: number;
  /** Where else the blob may be. Never followed here. */
  readonly urls?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
  /** The blob itself in Base64. */
  readonly data?: string;
  readonly artifactType?: string;
  /** Only in an index. */
  readonly platform?: Platform;
}

/** image-index.md: what an image needs to run. `architecture` and `os` are Go's GOARCH and GOOS. */
export interface Platform {
  readonly architecture: string;
  readonly os: string;
  readonly "os.version"?: string;
  readonly "os.features"?: readonly string[];
  readonly variant?: string;
}

/** image-index.md */
export interface ImageIndex {
  readonly schemaVersion: 2;
  readonly mediaType?: string;
  readonly artifactType?: string;
  readonly manifests: readonly Descriptor[];
  readonly subject?: Descriptor;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** manifest.md */
export interface ImageManifest {
  readonly schemaVersion: 2;
  readonly mediaType?: string;
  readonly artifactType?: string;
  readonly config: Descriptor;
  /** The lowest layer first. */
  readonly layers: readonly Descriptor[];
  readonly subject?: Descriptor;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** config.md. Every optional member may also be null, which means absent. */
export interface ImageConfig {
  /** RFC 3339. */
  readonly created?: string | null;
  readonly author?: string | null;
  readonly architecture: string;
  readonly os: string;
  readonly "os.version"?: string | null;
  readonly "os.features"?: readonly string[] | null;
  readonly variant?: string | null;
  readonly config?: ExecutionConfig | null;
  readonly rootfs: RootFs;
  readonly history?: readonly HistoryEntry[] | null;
}

/** config.md, property `config`: how a container of the image starts. */
export interface ExecutionConfig {
  readonly User?: string | null;
  readonly ExposedPorts?: Readonly<Record<string, object>> | null;
  readonly Env?: readonly string[] | null;
  readonly Entrypoint?: readonly string[] | null;
  readonly Cmd?: readonly string[] | null;
  readonly Volumes?: Readonly<Record<string, object>> | null;
  readonly WorkingDir?: string | null;
  readonly Labels?: Readonly<Record<string, string>> | null;
  readonly StopSignal?: string | null;
}

/** config.md, property `rootfs` */
export interface RootFs {
  readonly type: "layers";
  /** The digest of each layer's uncompressed tar, the lowest first. */
  readonly diff_ids: readonly string[];
}

/** config.md, an item of `history` */
export interface HistoryEntry {
  readonly created?: string | null;
  readonly author?: string | null;
  readonly created_by?: string | null;
  readonly comment?: string | null;
  /** The step changed no file: it has no layer. */
  readonly empty_layer?: boolean | null;
}

/** annotations.md: the name of an image inside a layout, on a descriptor of index.json. */
export const REF_NAME = "org.opencontainers.image.ref.name";
