// `npm run fuzz [-- TARGET...] [--runs N]`: changed files into every reader, by default 1.25 million into each.
import { parseArgs } from "node:util";
import { buildFuzzTargets, fuzz, fuzzTargets } from "./lib/fuzz.mjs";
import { Failure, script } from "./lib/run.mjs";

await script(async () => {
  const { values, positionals } = parseArgs({
    options: { runs: { type: "string", default: "1250000" } },
    allowPositionals: true,
  });
  const known = fuzzTargets();
  const unknown = positionals.filter((name) => !known.includes(name));
  if (unknown.length) throw new Failure(`no target is named ${unknown}; there are ${known.join(", ")}.`);
  if (!/^[1-9]\d*$/.test(values.runs)) throw new Failure("--runs takes a number of inputs.");
  const built = await buildFuzzTargets();
  const failed = [];
  for (const target of positionals.length ? positionals : known) {
    if (!(await fuzz(built, target, values.runs))) failed.push(target);
  }
  if (failed.length) throw new Failure(`${failed.join(", ")} failed; the inputs are in build/fuzz.`);
});
