// What is known of a model's files before they are fetched.
import type { Licence, Quant } from "../shared/protocol.ts";
import { type Manifest, parseManifest } from "./manifest.ts";
import type { Packing } from "./packing.ts";

/** What is known of a file before it is fetched. */
export interface PlannedFile {
  path: string;
  size: number;
  /** Of the whole file, lower-case hex, where the source tells it. */
  sha256?: string;
  /** Bytes of a chunk; the last one may be smaller. */
  chunkSize: number;
  /** Of each chunk, where the manifest tells it, or once a packed file was whole. */
  chunkSha256?: string[];
  validator?: string;
  /** How it is made of its source's file, where it is packed on arrival; all else here is about the packed file. */
  packing?: Packing;
}

/** The files of a model at one moment. */
export interface Plan {
  /** Commit that the files are of, on a hub. */
  commit?: string;
  /** The manifest as it came. */
  manifest?: string;
  licence?: Licence;
  /** Path of the file that is all of the model, where it is a checkpoint and not a folder in diffusers layout. */
  checkpoint?: string;
  /** Path of the one file of a LoRA. */
  lora?: string;
  /** How weights were to be packed that were not packed already. */
  quant?: Quant | "none";
  /** What weights were packed to where they come from, as far as their headers were read. */
  publishedQuant?: Quant;
  files: PlannedFile[];
}

/** A plan with the small files that had to be read to make it. */
export interface Planned {
  plan: Plan;
  contents: Map<string, Uint8Array<ArrayBuffer>>;
}

/** The plan that a manifest is. */
export function planOfManifest(text: string, chunkSize: number, commit: string | undefined): Plan {
  return { ...(commit && { commit }), manifest: text, files: filesOf(parseManifest(text), chunkSize) };
}

function filesOf(manifest: Manifest, chunkSize: number): PlannedFile[] {
  return [...manifest.values()].map(({ chunks, ...file }) =>
    chunks ? { ...file, chunkSize: chunks.size, chunkSha256: chunks.sha256 } : { ...file, chunkSize },
  );
}

/** Whether two plans say the same of a file. */
export function isSame(one: PlannedFile, other: PlannedFile): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** Bytes of all files, as they are kept. */
export function planBytes({ files }: Plan): number {
  return files.reduce((sum, file) => sum + file.size, 0);
}

/** Bytes that a file has where it comes from. */
export function sourceBytes({ size, packing }: PlannedFile): number {
  return packing?.source.size ?? size;
}

/** How many bytes of its source stand for each byte of a file, on average. */
export function sourceRatio(file: PlannedFile): number {
  return file.size > 0 ? sourceBytes(file) / file.size : 1;
}
