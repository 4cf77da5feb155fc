import { type ApkoConfig, splitWords } from "@imgkit/apk";
import type { ImageSettings } from "@imgkit/oci";
import type { StatedImage } from "./opened.ts";

// What an apko configuration says of the image besides its tree, by apko's pkg/build/oci/image.go.

const environment: Readonly<Record<string, string>> = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/bin:/usr/sbin:/sbin:/bin",
  SSL_CERT_FILE: "/etc/ssl/certs/ca-certificates.crt",
};

export function apkoImage(config: ApkoConfig, architecture: string): StatedImage {
  const { baseImage } = config.contents;
  // What the image below says of itself holds.
  if (baseImage !== undefined) return { settings: {}, annotations: annotationsOf(config), platform: `linux/${architecture}`, base: baseImage.image };
  const { command, shellFragment } = config.entrypoint;
  const entrypoint = shellFragment === undefined ? splitWords(command ?? "", "entrypoint.command") : ["/bin/sh", "-c", shellFragment];
  const env = Object.entries({ ...environment, ...config.environment })
    .map(([name, value]) => `${name}=${value}`)
    .sort();
  const settings: ImageSettings = {
    ...(entrypoint.length === 0 ? {} : { entrypoint }),
    ...(config.cmd === undefined ? {} : { cmd: splitWords(config.cmd, "cmd") }),
    env,
    ...(config.workDir === undefined ? {} : { workdir: config.workDir }),
    ...(config.accounts.runAs === undefined ? {} : { user: config.accounts.runAs }),
    ...(config.stopSignal === undefined ? {} : { stopSignal: config.stopSignal }),
    ...(config.volumes.length === 0 ? {} : { volumes: config.volumes }),
  };
  return { settings, annotations: annotationsOf(config), platform: `linux/${architecture}` };
}

function annotationsOf({ annotations, vcsUrl = "" }: ApkoConfig): Readonly<Record<string, string>> {
  const at = vcsUrl.indexOf("@");
  if (at < 0) return annotations;
  return { ...annotations, "org.opencontainers.image.source": vcsUrl.slice(0, at), "org.opencontainers.image.revision": vcsUrl.slice(at + 1) };
}
