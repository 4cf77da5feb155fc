/** A map that keeps only what was used last, so that a reader of a large container stays small. */
export interface Cache<T> {
  get(key: number): T | undefined;
  set(key: number, value: T): void;
}

export function createCache<T>(limit: number): Cache<T> {
  const entries = new Map<number, T>();
  return {
    get(key) {
      const value = entries.get(key);
      if (value === undefined) return undefined;
      // A Map keeps the order of insertion: what was used is inserted anew.
      entries.delete(key);
      entries.set(key, value);
      return value;
    },
    set(key, value) {
      entries.set(key, value);
      if (entries.size <= limit) return;
      for (const oldest of entries.keys()) {
        entries.delete(oldest);
        return;
      }
    },
  };
}
