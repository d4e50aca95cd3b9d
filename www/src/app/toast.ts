// A short message at the window's edge with one thing to do about it.
import { button, make } from "./make.ts";

const PATIENCE_MS = 10_000;

interface Message {
  text: string;
  /** What the button says and does. */
  action: string;
  act: () => void;
  /** Told when the message has gone and nothing was done. */
  onClose?: () => void;
}

let close: (() => void) | undefined;

/** Shows a message in the place of the one before; it goes after some seconds, not while it is pointed at or focused. */
export function showToast({ text, action, act, onClose = () => {} }: Message): void {
  close?.();
  const toast = make("div", { className: "toast" });
  // A screen reader tells what changes inside an element with this role, which must be there first.
  toast.setAttribute("role", "status");
  const before = document.activeElement;
  const end = (after: () => void) => () => {
    clearTimeout(timer);
    const hadFocus = toast.contains(document.activeElement);
    toast.remove();
    if (hadFocus && before instanceof HTMLElement) before.focus();
    close = undefined;
    after();
  };
  const dismiss = end(onClose);
  let timer = setTimeout(dismiss, PATIENCE_MS);
  const hold = () => clearTimeout(timer);
  const release = () => {
    hold();
    timer = setTimeout(dismiss, PATIENCE_MS);
  };
  for (const name of ["pointerenter", "focusin"]) toast.addEventListener(name, hold);
  for (const name of ["pointerleave", "focusout"]) toast.addEventListener(name, release);
  close = dismiss;
  // Outside an open dialog nothing can be pressed, nor inside one that is closed.
  const dialog = document.querySelector("dialog[open]");
  (dialog ?? document.body).append(toast);
  dialog?.addEventListener("close", () => toast.isConnected && document.body.append(toast), { once: true });
  toast.append(
    make("span", {}, text),
    button(action, end(act)),
    button("×", dismiss, { className: "icon", ariaLabel: "Close this message" }),
  );
}
