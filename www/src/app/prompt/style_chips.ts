import { fillChips } from "../chips.ts";
import { element } from "../elements.ts";
import { onFormChange, prompt, setField } from "../form.ts";
import { hasStyle, stylesFor, withoutStyle, withStyle } from "./styles.ts";

const list = element("styles", HTMLUListElement);
let show = () => {};

/** Offers the styles that the model understands; a pressed chip is one whose words are in the prompt. */
export function offerStyles(bundled: boolean): void {
  const { styles, exclusive } = stylesFor(bundled);
  const names = styles.map(({ name }) => name);
  const chips = fillChips(list, names, (at) => {
    const style = styles[at];
    if (!style) return;
    const text = prompt.value;
    const others = exclusive ? styles : [];
    setField("prompt", hasStyle(text, style) ? withoutStyle(text, style) : withStyle(text, style, others));
  });
  show = () => {
    for (const [at, style] of styles.entries()) {
      chips[at]?.setAttribute("aria-pressed", String(hasStyle(prompt.value, style)));
    }
  };
  show();
}

onFormChange(() => show());
