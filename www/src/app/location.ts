import { EaselError } from "../shared/errors.ts";
import type { DeviceChoice } from "../shared/protocol.ts";

declare const __MODEL_HOSTS__: string[];

const BUNDLED = "models/starter/";

/** What the page's address asks for. */
export interface Wish {
  /** The model's folder, with a slash at its end. */
  model: URL;
  bundled: boolean;
  device: DeviceChoice | undefined;
}

/** Reads `?model=URL&device=gpu|cpu|auto`; a model elsewhere than here or on an allowed host is a `model_host`. */
export function readLocation(page: URL, hosts: readonly string[] = __MODEL_HOSTS__): Wish {
  const base = new URL(".", page);
  const bundled = new URL(BUNDLED, base);
  const asked = page.searchParams.get("model");
  const model = asked === null ? bundled : modelUrl(asked, base, hosts);
  return {
    model,
    bundled: model.href === bundled.href,
    device: deviceChoice(page.searchParams.get("device")),
  };
}

function modelUrl(asked: string, base: URL, hosts: readonly string[]): URL {
  const folder = asked.endsWith("/") ? asked : `${asked}/`;
  const url = URL.canParse(folder, base.href) ? new URL(folder, base) : undefined;
  if (url && (url.origin === base.origin || hosts.includes(url.origin))) return url;
  const allowed = [base.origin, ...hosts].join(", ");
  throw new EaselError(
    "model_host",
    `the model \`${asked}\` is not on a host that this page may read from (${allowed})`,
  );
}

/** A device choice, or `undefined` for any other text. */
export function deviceChoice(text: string | null): DeviceChoice | undefined {
  return text === "gpu" || text === "cpu" || text === "auto" ? text : undefined;
}
