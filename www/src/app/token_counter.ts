import type { EngineClient } from "./engine_client.ts";
import { onFormChange } from "./form.ts";

const PAUSE_MS = 150;

/** Shows how many of the model's tokens a prompt takes, and how many chunks these make. */
export class TokenCounter {
  readonly #input: HTMLTextAreaElement;
  readonly #output: HTMLElement;
  #client: EngineClient | undefined;
  #counted: string | undefined;
  #timer = 0;

  constructor(input: HTMLTextAreaElement, output: HTMLElement) {
    this.#input = input;
    this.#output = output;
    onFormChange(() => {
      if (input.value === this.#counted) return;
      clearTimeout(this.#timer);
      this.#timer = window.setTimeout(() => void this.#count(), PAUSE_MS);
    });
  }

  /** Counts with this engine from now on. */
  attach(client: EngineClient): void {
    this.#client = client;
    void this.#count();
  }

  async #count(): Promise<void> {
    const prompt = this.#input.value;
    this.#counted = prompt;
    try {
      const counted = await this.#client?.request("tokens", { prompt });
      if (counted && prompt === this.#input.value) this.#output.textContent = tokensText(prompt, counted);
    } catch {
      // A prompt in the middle of an edit may be broken; Generate says what is wrong with it.
      this.#output.textContent = "";
    }
  }
}

/** "9/75 tokens", or "81/150 tokens in 2 chunks": a model reads a long prompt in chunks of its limit. */
export function tokensText(prompt: string, { count, limit }: { count: number; limit: number }): string {
  const breaks = prompt.match(/\bBREAK\b/g)?.length ?? 0;
  const chunks = Math.max(Math.ceil(count / limit), breaks + 1);
  const room = `${count}/${chunks * limit} tokens`;
  return chunks > 1 ? `${room} in ${chunks} chunks` : room;
}
