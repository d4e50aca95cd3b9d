// How the user wants models to be kept. It is not in the page's address: a link must not make a kept model be fetched anew.
import type { QuantChoice } from "../shared/protocol.ts";

const CHOICES: readonly QuantChoice[] = ["auto", "mixed", "q4", "q6", "q8", "none"];
const chosen = new Map<string, QuantChoice>();

/** Notes what the user chose for a model; any other text is `auto`. */
export function noteQuant(model: URL, text: string): void {
  chosen.set(model.href, CHOICES.find((choice) => choice === text) ?? "auto");
}

/** What the user chose for a model in this tab; once used, the model's record knows. */
export function quantFor(model: URL): QuantChoice {
  return chosen.get(model.href) ?? "auto";
}
