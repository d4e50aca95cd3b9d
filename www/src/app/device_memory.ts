// On which device the user wants pictures to be computed, over reloads.
import type { DeviceChoice } from "../shared/protocol.ts";
import { deviceChoice } from "./location.ts";

const STORED = "easel.device";

/** What was chosen last, `auto` where nothing was. */
export function keptDevice(): DeviceChoice {
  try {
    return deviceChoice(localStorage.getItem(STORED)) ?? "auto";
  } catch {
    return "auto";
  }
}

/** Keeps a choice. */
export function keepDevice(device: DeviceChoice): void {
  try {
    localStorage.setItem(STORED, device);
  } catch {
    // Without storage the choice holds until the page is left.
  }
}
