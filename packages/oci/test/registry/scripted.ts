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
  readonly network: Network;
  readonly sent: Sent[];
  /** What was waited for, in milliseconds; no time passes. */
  readonly waits: number[];
  /** Milliseconds since 1970; a wait adds to it. */
  now: number;
}

/** Answers by the script; waits of less than a stall's are over at once, and stalls never come. */
export function scripted(script: (sent: Sent) => Scripted | Promise<Scripted>): ScriptedNetwork {
  const state: ScriptedNetwork = {
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
        if (milliseconds === STALL) return new Promise((resolve) => signal?.addEventListener("abort", () => resolve()));
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
