const KEPT = 40;

/** What a tool prints to standard error: lines to whoever listens, and the few that tell why it failed. */
export class ToolLog {
  readonly #onLine: ((line: string) => void) | undefined;
  readonly #errors: string[] = [];
  readonly #last: string[] = [];
  #pending = "";

  constructor(onLine?: (line: string) => void) {
    this.#onLine = onLine;
  }

  /** The next piece; a progress bar's carriage return ends a line as well. */
  push(text: string): void {
    const lines = (this.#pending + text).split(/[\r\n]+/);
    this.#pending = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") this.#add(line);
  }

  /** Why it failed, as one line: its first errors (`E: …`, as apt, dpkg and mmdebstrap write them), else its last words. */
  reasons(): string {
    if (this.#pending !== "") this.push("\n");
    // That a tool failed which has said why itself is no reason.
    const telling = this.#errors.filter((line) => !/ failed$|failed to run$/.test(line));
    const errors = telling.length > 0 ? telling : this.#errors;
    return errors.length > 0 ? errors.slice(0, 3).join("; ") : this.#last.slice(-2).join("; ");
  }

  #add(line: string): void {
    this.#onLine?.(line);
    const error = /^(?:E|ERROR): (.+)$/.exec(line)?.[1];
    if (error !== undefined && this.#errors.length < KEPT) this.#errors.push(error);
    if (!/^[IWD]: /.test(line)) {
      this.#last.push(line);
      if (this.#last.length > KEPT) this.#last.shift();
    }
  }
}
