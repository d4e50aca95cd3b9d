// Cores whose clocks disagree.
import { output, say } from "./run.mjs";

/** Prints a core to stay on where time ran backwards between two cores, nothing where it never did. */
const LOOK = `
import os, time
cores, last = sorted(os.sched_getaffinity(0)), 0
for core in cores * 100:
    os.sched_setaffinity(0, {core})
    now = time.monotonic_ns()
    if now < last:
        print(cores[0])
        break
    last = now
`;

/**
 * What to put before a command so that it sees one clock: nothing, or `taskset` with a core where the machine's cores
 * disagree. Virtual machines have such clocks at times, and Chromium crashes or hangs on them.
 */
export function oneClock() {
  const core = output("python3", ["-c", LOOK]);
  if (!core) return [];
  say(
    `the clocks of this machine's cores disagree, which Chromium does not bear: it runs on core ${core} alone`,
  );
  return ["taskset", "--cpu-list", core];
}
