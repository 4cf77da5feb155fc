// `npm run bench gzip`: a Debian tar as gzip/1, against `pigz -6` and `gzip -6`. Every output is read back by gzip and compared with the tar.

import { execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { debian, debianTar } from "../../../scripts/bench/debian.mjs";
import { conditions, interleave, report, withFolder } from "../../../scripts/bench/measure.mjs";

const tar = debianTar();
const own = fileURLToPath(new URL("./compress-file.mjs", import.meta.url));
const best = "gzip/1 default, 2 threads";

console.log(conditions());
await withFolder((out) => {
  const file = (name) => join(out, `${name.replaceAll(/\W/g, "-")}.gz`);
  const stock = (name, ...command) => [name, ["sh", "-c", `exec ${command.join(" ")} -n -c '${tar}' > '${file(name)}'`]];
  const ours = (name, level, threads) => [name, [process.execPath, own, tar, file(name), level, threads]];
  const found = interleave(
    Object.fromEntries([
      stock("pigz -6 -p2", "pigz", "-6", "-p2"),
      stock("gzip -6", "gzip", "-6"),
      stock("gzip -1", "gzip", "-1"),
      ours(best, "default", "2"),
      ours("gzip/1 default, 1 thread", "default", "1"),
      ours("gzip/1 fast, 2 threads", "fast", "2"),
    ]),
    {
      after(name) {
        execFileSync("sh", ["-c", `gzip -dc '${file(name)}' | cmp - '${tar}'`]);
        return { bytes: statSync(file(name)).size };
      },
    },
  );
  report(`the tar of ${debian}, against pigz`, found, { [best]: [1.4, 1.9] });
  report("The same runs against gzip", { "gzip -6": found["gzip -6"], [best]: found[best] }, { [best]: [2.8, 3.8] });
});
