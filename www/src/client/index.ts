// What the npm package `easel` exports.
export { EaselError } from "../shared/errors.ts";
export { Easel } from "./easel.ts";
export { Generation } from "./generation.ts";
export type {
  Device,
  DeviceChoice,
  GenerateOptions,
  LoadOptions,
  LoraOption,
  ModelInfo,
  Picture,
  Progress,
  QuantChoice,
  Snapshot,
  Step,
} from "./types.ts";
