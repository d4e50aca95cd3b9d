// Samplers by the names that tools give them in their files.

/** The engine's name, the A1111 web UI's, and its "Schedule type" where that is a part of it. */
const NAMES: readonly (readonly [own: string, label: string, schedule?: string])[] = [
  ["ddim", "DDIM"],
  ["pndm", "PLMS"],
  ["euler", "Euler"],
  ["euler-a", "Euler a"],
  ["dpmpp-2m", "DPM++ 2M"],
  ["dpmpp-2m-karras", "DPM++ 2M", "Karras"],
  ["unipc", "UniPC"],
  ["lcm", "LCM"],
];

/** Other tools' names, written as `plain` does. */
const ALIASES: Record<string, string> = {
  eulerancestral: "euler-a",
  eulerdiscrete: "euler",
  dpmpp2mk: "dpmpp-2m-karras",
  dpmpp2mkarras: "dpmpp-2m-karras",
  unipcbh2: "unipc",
  ...Object.fromEntries(NAMES.flatMap(([own]) => [[plain(own), own]])),
  ...Object.fromEntries(
    NAMES.filter(([, , schedule]) => !schedule).map(([own, label]) => [plain(label), own]),
  ),
};

/** What the A1111 web UI calls a sampler of the engine; a name that it has not is left as it is. */
export function infotextSampler(own: string): { sampler: string; schedule: string | undefined } {
  const [, sampler = own, schedule] = NAMES.find(([name]) => name === own) ?? [];
  return { sampler, schedule };
}

/** Other tools' names of the noise schedule that a sampler of the engine has anyway. */
const USUAL_SCHEDULES = new Set(["", "automatic", "normal", "uniform", "simple"]);

/** The engine's name of a tool's sampler and noise schedule, and what of them the engine `lacks`. */
export function ownSampler(name: string, schedule = ""): { sampler?: string; lacks?: string } {
  const key = plain(name);
  const own = Object.hasOwn(ALIASES, key) ? ALIASES[key] : undefined;
  if (!own) return key ? { lacks: `the sampler “${shortened(name)}”` } : {};
  const wanted = plain(schedule);
  const isKarras = own === "dpmpp-2m-karras" || own === "dpmpp-2m";
  if (wanted === "karras" && isKarras) return { sampler: "dpmpp-2m-karras" };
  return USUAL_SCHEDULES.has(wanted)
    ? { sampler: own }
    : { sampler: own, lacks: `the schedule “${shortened(schedule)}” of its sampler` };
}

function shortened(name: string): string {
  return name.slice(0, 60);
}

/** `dpmpp2m` for "DPM++ 2M" and for "dpmpp_2m". */
function plain(name: string): string {
  return name
    .slice(0, 100)
    .toLowerCase()
    .replaceAll("+", "p")
    .replace(/^k_/, "")
    .replace(/[^a-z0-9]/g, "");
}
