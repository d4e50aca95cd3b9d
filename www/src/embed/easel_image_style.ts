const CSS = `
:host {
  --accent: var(--easel-accent, #b8431a);
  --on-accent: var(--easel-on-accent, #fff);
  --radius: var(--easel-radius, 0.5rem);
  display: inline-block;
  inline-size: var(--easel-size, 20rem);
  max-inline-size: 100%;
  font: 0.95rem/1.4 system-ui, sans-serif;
}
:host([hidden]), [hidden] { display: none !important; }
[part="picture"] {
  position: relative;
  overflow: hidden;
  border-radius: var(--radius);
  background: var(
    --easel-background,
    radial-gradient(circle at 30% 35%, color-mix(in srgb, var(--accent) 25%, transparent), transparent 55%),
    radial-gradient(circle at 70% 62%, color-mix(in srgb, #4f9a80 28%, transparent), transparent 55%),
    color-mix(in srgb, currentColor 5%, transparent)
  );
}
[part="poster"], canvas, ::slotted([slot="poster"]) {
  position: absolute;
  inset: 0;
  inline-size: 100%;
  block-size: 100%;
  object-fit: cover;
}
[part="bar"] { display: flex; flex-wrap: wrap; align-items: center; gap: 0.25rem 0.75rem; margin-block-start: 0.5rem; }
[part="button"] {
  min-block-size: 2.75rem;
  padding: 0.4rem 1.1rem;
  border: 0;
  border-radius: var(--radius);
  background: var(--accent);
  color: var(--on-accent);
  font: inherit;
  font-weight: 600;
  cursor: pointer;
}
[part="button"]:focus-visible { outline: 3px solid currentColor; outline-offset: 2px; color: var(--on-accent); outline-color: var(--accent); }
[part="progress"] { flex: 1; min-inline-size: 4rem; accent-color: var(--accent); }
[part="time"] { font-size: 0.85em; font-variant-numeric: tabular-nums; }
[part~="status"] { margin: 0.4rem 0 0; min-block-size: 1.4em; font-size: 0.9em; overflow-wrap: anywhere; }
[part~="error"] { padding-inline-start: 0.6rem; border-inline-start: 3px solid var(--accent); }
.unseen { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`;

let sheet: CSSStyleSheet | undefined;

/** One sheet for all elements; as an object it needs no leave of a Content-Security-Policy. */
export function easelImageStyle(): CSSStyleSheet {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
  }
  return sheet;
}
