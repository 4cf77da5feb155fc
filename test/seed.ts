import fc from "fast-check";

// A plain run draws the same cases every time, so that a change is never blamed for what chance has found; a long run (npm run
// test:long) draws new ones. What a long run finds becomes a test of its own, or is repeated with IMGKIT_SEED.
const given = process.env.IMGKIT_SEED;
if (given !== undefined) fc.configureGlobal({ seed: Number(given) });
else if (process.env.IMGKIT_LONG !== "1") fc.configureGlobal({ seed: 1 });
