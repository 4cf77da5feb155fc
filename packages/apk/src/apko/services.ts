// `services` of an apko.yaml, by apko's pkg/s6 and its ValidateServiceBundle: s6 starts a program for each.
import type { Root } from "../install/root.ts";
import type { ApkoConfig } from "./config.ts";
import type { ApkoEntrypoint } from "./config-parts.ts";

/** What is asked for besides the configuration's packages. */
export function servicePackages({ entrypoint }: ApkoConfig): readonly string[] {
  return entrypoint.type === "service-bundle" ? ["s6"] : [];
}

/** The entrypoint with the command that starts the services. */
export function serviceEntrypoint(entrypoint: ApkoEntrypoint): ApkoEntrypoint {
  return entrypoint.type === "service-bundle" ? { ...entrypoint, command: "/bin/s6-svscan /sv" } : entrypoint;
}

/** A folder with a script for each service; without a type they are written too, and nothing starts them. */
export function writeServices(root: Root, services: Readonly<Record<string, string>>): void {
  for (const [name, command] of Object.entries(services)) {
    root.folder(`sv/${name}`, 0o777, 0o777);
    root.file(`${root.resolve(`sv/${name}`)}/run`, `#!/bin/execlineb\n${command}\n`, 0o755);
  }
}
