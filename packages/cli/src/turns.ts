import type { ByteSource, ByteStream } from "@imgkit/bytes";

// Files are read and written by synchronous calls, which are the fastest (see openFile), and awaiting their results never
// lets go of the event loop: a signal would be heard only when all is done. So whatever passes many bytes gives it a turn.

/** Bytes between two turns: about a millisecond of work. */
const BETWEEN = 1 << 20;

/** To be called with each number of bytes that were worked on; what it returns is to be awaited. */
export function turns(): (bytes: number) => Promise<void> | undefined {
  let since = 0;
  return (bytes) => {
    since += bytes;
    if (since < BETWEEN) return undefined;
    since = 0;
    return new Promise((resolve) => setImmediate(resolve));
  };
}

/** The same stream; signals are heard while it is read. */
export async function* pacedStream(stream: ByteStream): AsyncGenerator<Uint8Array, void, undefined> {
  const turn = turns();
  for await (const chunk of stream) {
    yield chunk;
    await turn(chunk.length);
  }
}

/** The same source; signals are heard while it is read. */
export function pacedSource<Source extends ByteSource>(source: Source): Source {
  const turn = turns();
  return {
    ...source,
    async read(start: number, end: number) {
      await turn(end - start);
      return source.read(start, end);
    },
    ...(source.readInto === undefined
      ? {}
      : {
          async readInto(target: Uint8Array, start: number) {
            await turn(target.length);
            await source.readInto?.(target, start);
          },
        }),
  };
}
