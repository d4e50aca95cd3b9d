import { builtPlaces } from "../shared/built_places.ts";
import { BUNDLED } from "../shared/bundled_model.ts";
import { isLocal, modelAddress } from "../shared/model_address.ts";
import type { DeviceChoice } from "../shared/protocol.ts";

/** What the page's address asks for. */
export interface Wish {
  /** The model's folder, with a slash at its end. */
  model: URL;
  bundled: boolean;
  device: DeviceChoice | undefined;
}

/** The model that comes with the page. */
export function starterModel(page = new URL(location.href)): URL {
  return new URL(BUNDLED, builtPlaces(page).page);
}

/** Reads `?model=ADDRESS&device=gpu|cpu|auto`; throws what `modelAddress` throws. */
export function readLocation(page: URL, places = builtPlaces(page)): Wish {
  const bundled = new URL(BUNDLED, places.page);
  const asked = page.searchParams.get("model");
  const model = asked === null ? bundled : modelAddress(asked, places);
  return {
    model,
    bundled: model.href === bundled.href,
    device: deviceChoice(page.searchParams.get("device")),
  };
}

/** The page's address with another model in it. */
export function locationOf(page: URL, { model, bundled }: Wish): URL {
  const url = new URL(page);
  if (bundled) url.searchParams.delete("model");
  else url.searchParams.set("model", model.href);
  return url;
}

/** What names a model in a link to this page; `undefined` for the bundled one, and for files that only this device has. */
export function modelInLink(model: URL, page: URL): string | undefined {
  if (isLocal(model) || model.href === new URL(BUNDLED, new URL(".", page)).href) return undefined;
  return model.origin === page.origin ? model.pathname : model.href;
}

/** Whether `?precision=f16` lets the GPU compute in f16. */
export function allowsF16(page: URL): boolean {
  return page.searchParams.get("precision") === "f16";
}

/** A device choice, or `undefined` for any other text. */
export function deviceChoice(text: string | null | undefined): DeviceChoice | undefined {
  return text === "gpu" || text === "cpu" || text === "auto" ? text : undefined;
}
