// Files of local models that the user gave to this page, for as long as it is open.
import type { GivenFile } from "../shared/protocol.ts";

const given = new Map<string, GivenFile[]>();

/** Notes the files of a local model. */
export function noteFiles(model: URL, files: GivenFile[]): void {
  given.set(model.href, files);
}

/** The files of a model, when they were given. */
export function givenFiles(model: URL): GivenFile[] | undefined {
  return given.get(model.href);
}
