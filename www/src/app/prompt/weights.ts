// Weights of words, as `(word:1.1)`: what Ctrl/⌘ with an arrow does to a prompt.

const LEAST = 0.1;
const MOST = 2;
/** What round brackets without a number mean. */
const BRACKETS = 1.1;
/** As the engine reads it. */
const WEIGHT = /:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*$/;
const TAG = /<[^<>]*>/g;
const BETWEEN_WORDS = /[\s,.;:()[\]<>|\\]/;

/** A text with a selection. */
export interface Selected {
  text: string;
  start: number;
  end: number;
}

interface Group {
  open: number;
  close: number;
}

/**
 * Adds `change` to the weight of the selection, or of the word or group around the cursor; what is selected stays selected.
 * A weight of 1 is not written. A text in which nothing can be weighed, such as a tag, comes back as it is.
 */
export function reweigh(selected: Selected, change: number): Selected {
  if (meetsTag(selected)) return selected;
  const group = groupAt(selected);
  if (group) return rewrite(selected.text, group, change);
  const { text, start, end } = words(selected);
  if (start === end || !balanced(text.slice(start, end))) return selected;
  return assemble(text, { open: start, close: end - 1 }, text.slice(start, end), limited(1 + change));
}

/** Gives a group another weight. */
function rewrite(text: string, group: Group, change: number): Selected {
  const inside = text.slice(group.open + 1, group.close);
  const written = WEIGHT.exec(inside);
  const content = written ? inside.slice(0, written.index) : inside;
  const weight = written ? Number(written[1]) : BRACKETS;
  // A weight beyond what the keys lead to must not jump back against them.
  const isBeyond = change > 0 ? weight >= MOST : weight <= LEAST;
  return assemble(text, group, content, isBeyond ? weight : limited(weight + change));
}

function limited(weight: number): number {
  return Number(Math.min(MOST, Math.max(LEAST, weight)).toFixed(2));
}

/** Puts content with a weight in the place of a group. */
function assemble(text: string, { open, close }: Group, content: string, weight: number): Selected {
  const [before, after] = weight === 1 ? ["", ""] : ["(", `:${weight})`];
  const start = open + before.length;
  return {
    text: `${text.slice(0, open)}${before}${content}${after}${text.slice(close + 1)}`,
    start,
    end: start + content.length,
  };
}

/** The innermost group that the cursor is in, or whose whole content is selected. */
function groupAt({ text, start, end }: Selected): Group | undefined {
  const opened: number[] = [];
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === "(") opened.push(at);
    else if (text[at] === ")") {
      const open = opened.pop();
      if (open !== undefined && isOf({ open, close: at }, text, start, end)) return { open, close: at };
    }
  }
  return undefined;
}

/** Whether the cursor or a part of the selection is in `<lora:name:0.8>`, whose brackets would not be the tag's. */
function meetsTag({ text, start, end }: Selected): boolean {
  const tags = [...text.matchAll(TAG)];
  return tags.some(
    ({ index, 0: tag }) =>
      index < end && start < index + tag.length && (start > index || end < index + tag.length),
  );
}

function isOf({ open, close }: Group, text: string, start: number, end: number): boolean {
  if (start === end) return open < start && start <= close;
  const inside = text.slice(open + 1, close).replace(WEIGHT, "");
  const whole = start <= open && close < end && text.slice(start, end).trim() === text.slice(open, close + 1);
  return whole || (start > open && end <= close && text.slice(start, end).trim() === inside.trim());
}

/** The selection without space around it; with nothing selected, the word at the cursor. */
function words({ text, start, end }: Selected): Selected {
  let [from, to] = [start, end];
  if (from === to) {
    while (from > 0 && !BETWEEN_WORDS.test(text[from - 1] ?? "")) from -= 1;
    while (to < text.length && !BETWEEN_WORDS.test(text[to] ?? "")) to += 1;
  }
  while (from < to && /\s/.test(text[from] ?? "")) from += 1;
  while (to > from && /\s/.test(text[to - 1] ?? "")) to -= 1;
  return { text, start: from, end: to };
}

/** Whether brackets close in the order in which they open. */
function balanced(text: string): boolean {
  let depth = 0;
  for (let at = 0; at < text.length && depth >= 0; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === "(") depth += 1;
    else if (text[at] === ")") depth -= 1;
  }
  return depth === 0;
}
