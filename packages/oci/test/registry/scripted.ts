// A network without a wire: each answer is written down by the test, each request is kept.
import type { FetchInit, FetchResponse, Network } from "../../src/index.ts";

export interface Sent {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface Scripted {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string | ReadableStream<Uint8Array>;
}

export interface ScriptedNetwork {
  readonly network: { -readonly [K in keyof Network]: Network[K] };
  readonly sent: Sent[];
  /** What was waited for, in milliseconds; no time passes. */
  readonly waits: number[];
  /** Milliseconds since 1970; a wait adds to it. */
  now: number;
  /** A stall's time passes, for whatever is watched. */
  stall(): Promise<void>;
}

/** Answers by the script; waits of less than a stall's are over at once, and stalls come when the test says so. */
export function scripted(script: (sent: Sent) => Scripted | Promise<Scripted>): ScriptedNetwork {
  let watching: (() => void)[] = [];
  const state: ScriptedNetwork = {
    async stall() {
      state.now += STALL;
      const woken = watching;
      watching = [];
      for (const wake of woken) wake();
      await new Promise((resolve) => setTimeout(resolve, 1));
    },
    sent: [],
    waits: [],
    now: 1_700_000_000_000,
    network: {
      fetch: async (url: string, init: FetchInit): Promise<FetchResponse> => {
        const sent = { method: init.method, url, headers: init.headers };
        state.sent.push(sent);
        const { status, headers = {}, body = "" } = await script(sent);
        const stream = body instanceof ReadableStream ? body : new Response(body as BodyInit).body;
        return { status, headers: new Headers(headers), body: stream };
      },
      now: () => state.now,
      sleep: (milliseconds, signal) => {
        if (milliseconds === STALL) {
          return new Promise((resolve) => {
            const wake = (): void => {
              signal?.removeEventListener("abort", wake);
              resolve();
            };
            watching.push(wake);
            signal?.addEventListener("abort", wake);
          });
        }
        state.waits.push(milliseconds);
        state.now += milliseconds;
        return Promise.resolve();
      },
      random: () => 1,
    },
  };
  return state;
}

/** The `stallTimeout` that scripted networks know. */
export const STALL = 77_777;
