/** Keeps the screen on while `work` goes on, where the browser can: a device that sleeps draws nothing. */
export async function stayAwake<T>(work: () => Promise<T>): Promise<T> {
  // Absent outside secure contexts and in some browsers, whatever the types say; refused when the battery is low.
  const wakeLock = navigator.wakeLock as WakeLock | undefined;
  const held = wakeLock?.request("screen").catch(() => undefined);
  try {
    return await work();
  } finally {
    void held?.then((sentinel) => sentinel?.release());
  }
}
