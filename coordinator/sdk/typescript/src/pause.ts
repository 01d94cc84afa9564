const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 2_000;

/** Returns the pause before a repetition, in milliseconds: longer each time, and at random so that many do not come together. */
export function pause(repetition: number, random: number = Math.random()): number {
  return Math.min(FIRST_PAUSE_MS * 2 ** repetition, MAX_PAUSE_MS) * (0.5 + random / 2);
}

/** Waits for so many milliseconds. Rejects with the signal's reason once that is aborted. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
