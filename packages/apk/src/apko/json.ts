// /etc/apko.json: the configuration as Go's encoding/json writes apko's types, members in the order of those types, empty ones left out.
import type { ApkoConfig } from "./config.ts";

/** The text for one architecture, by OCI's name. */
export function apkoJson(config: ApkoConfig, architecture: string): string {
  const { contents, entrypoint, accounts } = config;
  return `${goJson(
    present({
      contents: present({
        build_repositories: contents.buildRepositories,
        runtime_repositories: contents.runtimeRepositories,
        repositories: contents.repositories,
        keyring: contents.keyring,
        runtime_keyring: contents.runtimeKeyring.map(({ name, content }) => ({ name, content })),
        packages: contents.packages,
        baseimage: contents.baseImage,
      }),
      entrypoint: present({
        type: entrypoint.type,
        command: entrypoint.command,
        "shell-fragment": entrypoint.shellFragment,
        services: sorted(entrypoint.services ?? {}),
      }),
      cmd: config.cmd,
      "stop-signal": config.stopSignal,
      "work-dir": config.workDir,
      accounts: present({
        "run-as": accounts.runAs,
        users: accounts.users.map(({ username, uid, gid, shell, homedir }) => present({ username, uid: uid || undefined, gid, shell, homedir })),
        groups: accounts.groups.map(({ groupname, gid, members }) => present({ groupname, gid: gid || undefined, members })),
      }),
      archs: [architecture],
      environment: sorted(config.environment),
      paths: config.paths.map(({ path, type, uid, gid, permissions, source, recursive }) =>
        present({ path, type, uid, gid, permissions: permissions || undefined, source, recursive }),
      ),
      "vcs-url": config.vcsUrl,
      annotations: sorted(config.annotations),
      volumes: config.volumes,
      layering: config.layering && present({ strategy: config.layering.strategy, budget: config.layering.budget || undefined }),
      format: config.format,
      certificates: config.certificates && present({ ...config.certificates }),
    }),
  )}\n`;
}

/** Go writes maps by their keys. */
function sorted(map: Readonly<Record<string, string>>): Record<string, string> | undefined {
  const keys = Object.keys(map).sort();
  return keys.length === 0 ? undefined : Object.fromEntries(keys.map((key) => [key, map[key] ?? ""]));
}

/** Without members that are undefined or empty lists; structs stay, empty or not. */
function present(members: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined && !(Array.isArray(value) && value.length === 0)));
}

/** JSON as Go writes it: what could end a script element is escaped. */
function goJson(value: unknown): string {
  return JSON.stringify(value).replace(/[<>&\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
