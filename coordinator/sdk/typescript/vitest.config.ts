import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    // Programs that tests start, and the snippets of the README, use the package as it is published.
    globalSetup: ["scripts/build.mjs"],
    // A machine that does other things beside is slow, and none of these may hang.
    testTimeout: 240_000,
    hookTimeout: 240_000,
    maxWorkers: 2,
  },
});
