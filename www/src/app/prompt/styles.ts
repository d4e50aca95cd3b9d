// Styles: words that are added to a prompt, and taken out of it again.

/** What a chip adds. */
export interface Style {
  name: string;
  /** As it stands in the prompt, with what separates it from the words before it. */
  text: string;
}

/** For models that were trained on photographs and paintings with their captions. */
const PAINTED: Style[] = [
  { name: "Photograph", text: ", photograph, natural light, sharp focus" },
  { name: "Watercolour", text: ", watercolor painting, soft washes, paper texture" },
  { name: "Oil painting", text: ", oil painting, visible brush strokes, rich colors" },
  { name: "Ink drawing", text: ", black ink drawing, fine lines, white background" },
  { name: "Woodblock", text: ", woodblock print, flat colors, bold outlines" },
  { name: "Paper cut", text: ", layered paper cut-out, soft shadows" },
  { name: "Pixel art", text: ", pixel art, limited palette" },
  { name: "Golden hour", text: ", golden hour, long shadows, warm light" },
];

/** The bundled model knows no styles, only the colours of backgrounds. */
const BACKGROUNDS: Style[] = ["orange", "yellow", "green", "blue", "purple", "pink"].map((colour) => ({
  name: `On ${colour}`,
  text: ` on ${/^[aeiou]/.test(colour) ? "an" : "a"} ${colour} background`,
}));

/** The styles that a model understands; where `exclusive`, one takes the place of another. */
export function stylesFor(bundled: boolean): { styles: Style[]; exclusive: boolean } {
  return bundled ? { styles: BACKGROUNDS, exclusive: true } : { styles: PAINTED, exclusive: false };
}

/** Whether a prompt has a style's words. */
export function hasStyle(prompt: string, { text }: Style): boolean {
  return prompt.includes(text);
}

/** A prompt without a style's words. */
export function withoutStyle(prompt: string, { text }: Style): string {
  return prompt.replace(text, "");
}

/** A prompt with a style's words at its end, in the place of those of `others`. */
export function withStyle(prompt: string, style: Style, others: readonly Style[]): string {
  return others.reduce(withoutStyle, prompt).trimEnd() + style.text;
}
