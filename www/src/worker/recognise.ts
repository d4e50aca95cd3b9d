// What the user gave: which model it is, and which of the files are its own.
import { EaselError } from "../shared/errors.ts";
import { isWeightsFile, otherFormat } from "../shared/formats.ts";
import { localAddress } from "../shared/model_address.ts";
import type { GivenFile, Recognised } from "../shared/protocol.ts";
import { sha256Hex } from "./digest.ts";
import { MODEL_INDEX } from "./layout.ts";
import { bytesOfBlob } from "./local_provider.ts";
import { MANIFEST } from "./manifest.ts";
import { readTar } from "./tar.ts";
import { notACheckpoint, weightsKind } from "./weights_kind.ts";

const OF_MODEL = /\.(safetensors|json|txt)$/i;
const ARCHIVE = /\.tar$/i;
const UNNAMED = "model";

/** Finds the model among files; throws a sentence that says what is wrong with them. */
export async function recognise(files: readonly GivenFile[]): Promise<Recognised> {
  const [first] = files;
  if (!first)
    throw new EaselError("not_a_model_file", "there are no files in it: give a model's folder or a file");
  if (files.length === 1 && ARCHIVE.test(first.path)) return recognise(await unpacked(first));
  const root = rootOf(files.map(({ path }) => path));
  if (root === undefined) return recogniseFile(files);
  const own = files.filter(({ path }) => path.startsWith(root) && OF_MODEL.test(path));
  const inside = own.map((file) => ({ ...file, path: file.path.slice(root.length) }));
  const name = root.split("/").at(-2) ?? UNNAMED;
  return {
    kind: "model",
    address: localAddress(await fingerprint(inside), name, "folder").href,
    files: inside,
  };
}

async function unpacked({ path, file, modified }: GivenFile): Promise<GivenFile[]> {
  const entries = await readTar(file);
  if (!entries.some((entry) => entry.path.endsWith(MODEL_INDEX))) {
    throw new EaselError("not_a_model_file", `${path} holds no ${MODEL_INDEX}: it is no model`);
  }
  return entries.map((entry) => ({ ...entry, modified }));
}

/** The folder of the model, with a slash at its end; `undefined` where there is no model in diffusers layout. */
function rootOf(paths: string[]): string | undefined {
  const depth = (path: string) => path.split("/").length;
  const indexes = paths.filter((path) => path === MODEL_INDEX || path.endsWith(`/${MODEL_INDEX}`));
  const highest = Math.min(...indexes.map(depth));
  const roots = indexes.filter((path) => depth(path) === highest);
  if (roots.length > 1) {
    throw new EaselError(
      "not_a_model_file",
      "there are several models in it: give the folder of one of them",
    );
  }
  return roots[0]?.slice(0, -MODEL_INDEX.length);
}

/** Where there is no folder of a model: the one file with weights decides. */
async function recogniseFile(files: readonly GivenFile[]): Promise<Recognised> {
  const weights = files.filter(({ path }) => isWeightsFile(path));
  const [given] = weights;
  if (!given) throw noModel(files);
  if (weights.length > 1) {
    const advice = `with a ${MODEL_INDEX} it would be a model's folder. Give one of the files by itself`;
    throw new EaselError("not_a_model_file", `there are several .safetensors files: ${advice}`);
  }
  const file = { ...given, path: given.path.split("/").at(-1) ?? given.path };
  const kind = await weightsKind(file.path, bytesOfBlob(file.path, file.file));
  if (kind !== "checkpoint" && kind !== "lora") throw notACheckpoint(file.path, kind);
  const address = localAddress(await fingerprint([file]), file.path, "file");
  // The address may spell the name in another way; the file goes by the address.
  const own = [{ ...file, path: fileName(address) }];
  return { kind: kind === "lora" ? kind : "model", address: address.href, files: own };
}

function fileName(address: URL): string {
  return decodeURIComponent(address.pathname.split("/").at(-1) ?? "");
}

function noModel(files: readonly GivenFile[]): EaselError {
  const known = files.find(({ path }) => otherFormat(path) !== undefined);
  const reason = known && `${known.path} ${otherFormat(known.path)}`;
  const alone = files.find(({ path }) => !path.includes("/"));
  const what = alone ? `${alone.path} is no model` : `there is no ${MODEL_INDEX} in it`;
  const advice = "a model is a folder in diffusers layout or one .safetensors file";
  return new EaselError("not_a_model_file", reason ?? `${what}: ${advice}`);
}

/**
 * What tells one model from another: its manifest, which has the hashes, or else names, sizes and times of its files. The
 * files themselves are too large to be read before it is known whether they are kept already.
 */
async function fingerprint(files: readonly GivenFile[]): Promise<string> {
  const manifest = files.find(({ path }) => path === MANIFEST);
  const facts = files.map(({ path, file, modified }) => [path, file.size, modified]).sort();
  const bytes = manifest
    ? await manifest.file.arrayBuffer()
    : new TextEncoder().encode(JSON.stringify(facts));
  return (await sha256Hex(bytes)).slice(0, 16);
}
