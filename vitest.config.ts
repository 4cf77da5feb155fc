import { delimiter } from "node:path";
import { defineConfig } from "vitest/config";

// Debian keeps sgdisk and veritysetup where only root's PATH looks.
const path = [process.env.PATH ?? "", "/usr/local/sbin", "/usr/sbin", "/sbin"].join(delimiter);

export default defineConfig({
  resolve: { conditions: ["@imgkit/source"] },
  ssr: { resolve: { conditions: ["@imgkit/source"] } },
  test: {
    include: ["packages/*/test/**/*.test.ts", "fixtures/test/**/*.test.ts", "test/**/*.test.ts"],
    env: { PATH: path },
    setupFiles: ["test/seed.ts"],
    pool: "forks",
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
