import type { EngineClient } from "../client/engine_client.ts";

const PAUSE_MS = 150;

/** Shows how many of the model's tokens a prompt takes. */
export class TokenCounter {
  readonly #input: HTMLTextAreaElement;
  readonly #output: HTMLElement;
  #client: EngineClient | undefined;
  #timer = 0;

  constructor(input: HTMLTextAreaElement, output: HTMLElement) {
    this.#input = input;
    this.#output = output;
    input.addEventListener("input", () => {
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
    try {
      const counted = await this.#client?.request("tokens", { prompt });
      if (!counted || prompt !== this.#input.value) return;
      this.#output.textContent = `${counted.count}/${counted.limit} tokens`;
      this.#output.dataset.over = String(counted.count > counted.limit);
    } catch {
      // A prompt in the middle of an edit may be broken; Generate says what is wrong with it.
      this.#output.textContent = "";
    }
  }
}
