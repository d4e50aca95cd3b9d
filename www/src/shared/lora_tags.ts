// `<lora:name:0.8>` in prompts, as far as the page needs to know it; the engine is who reads it for good.
const TAG = /<(?:lora|lyco):([^:<>]+)(?::([^<>]*))?>/g;

/** Names of the LoRAs that a prompt asks for. */
export function loraNames(prompt: string): Set<string> {
  return new Set([...prompt.matchAll(TAG)].map(([, name = ""]) => name.trim()));
}

/** Strength of a LoRA in a prompt: that of its first tag, 0 without one. */
export function loraStrength(prompt: string, name: string): number {
  const tag = [...prompt.matchAll(TAG)].find(([, found = ""]) => found.trim() === name);
  if (!tag) return 0;
  const strength = Number(tag[2] ?? 1);
  return Number.isFinite(strength) ? strength : 0;
}

/** The prompt with one tag for a LoRA, in the place of its first one or at the end; with none for a strength of 0. */
export function withLora(prompt: string, name: string, strength: number): string {
  let tag = strength === 0 ? "" : `<lora:${name}:${strength}>`;
  const replaced = prompt.replaceAll(TAG, (whole, found: string) => {
    if (found.trim() !== name) return whole;
    const here = tag;
    tag = "";
    return here;
  });
  if (!tag) return replaced.trimEnd();
  return replaced === "" || replaced.endsWith(" ") ? replaced + tag : `${replaced} ${tag}`;
}

/** A name for the LoRA of a file: what tags cannot hold is replaced. */
export function loraName(file: string): string {
  return (
    file
      .replace(/\.safetensors$/i, "")
      .replace(/[<>:\p{Cc}]/gu, "_")
      .trim()
      .slice(0, 60) || "lora"
  );
}
