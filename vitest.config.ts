import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { conditions: ["@imgkit/source"] },
  ssr: { resolve: { conditions: ["@imgkit/source"] } },
  test: {
    include: ["packages/*/test/**/*.test.ts", "fixtures/test/**/*.test.ts", "test/**/*.test.ts"],
    pool: "forks",
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
