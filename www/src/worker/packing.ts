// Weights that are packed as they arrive: a model's provider in front of which the engine's transcoder sits.
import type { Transcoder } from "easel-wasm";
import { EaselError } from "../shared/errors.ts";
import type { Quant, QuantChoice } from "../shared/protocol.ts";
import { sha256Hex } from "./digest.ts";
import type { Range } from "./host.ts";
import type { Plan, Planned, PlannedFile } from "./plan.ts";
import type { ByteSource, Provider } from "./provider.ts";
import { packedFormats, readHeader } from "./safetensors.ts";
import type { MakeHash, SourceHash } from "./source_hash.ts";

/** What is needed of the engine to pack. */
export interface PackingTools {
  /** `undefined` where there is nothing to pack. `header` is that of the file: length field and JSON. */
  makeTranscoder(
    file: { path: string; isCheckpoint: boolean; size: number; quant: Quant },
    header: Uint8Array,
  ): Promise<Transcoder | undefined>;
  makeHash: MakeHash;
}

/** A file as its source has it, and what becomes of it. */
export interface Packing {
  quant: Quant;
  /** Whether it is a single-file checkpoint; otherwise it is of the part that its folder names. */
  isCheckpoint?: boolean;
  source: Pick<PlannedFile, "size" | "sha256" | "validator">;
  /** Of the source's header: with another, bytes would be taken for others. */
  headerSha256: string;
}

/** Weights smaller than this stay as they are, unless the user wants otherwise. */
const SMALL_BYTES = 300e6;
const AUTOMATIC = "mixed";

/** Most bytes that are copied into the engine's memory at once. */
const PIECE = 1 << 20;

const WEIGHTS = /^(unet|vae|text_encoder(_\d+)?)\/[^/]+\.safetensors$/;

/** The models of another provider, packed. */
export class PackingProvider implements Provider {
  readonly #inner: Provider;
  readonly #choice: QuantChoice;
  readonly #tools: PackingTools;

  constructor(inner: Provider, choice: QuantChoice, tools: PackingTools) {
    this.#inner = inner;
    this.#choice = choice;
    this.#tools = tools;
  }

  get address(): string {
    return this.#inner.address;
  }

  async plan(chunkSize: number, former?: Plan): Promise<Planned> {
    const { plan, contents } = await this.#inner.plan(chunkSize);
    const isWeights = ({ path }: PlannedFile) => path === plan.checkpoint || WEIGHTS.test(path);
    const weights = plan.files.filter(isWeights);
    const bytes = weights.reduce((sum, { size }) => sum + size, 0);
    const usual = former?.quant ?? (bytes < SMALL_BYTES ? "none" : AUTOMATIC);
    const quant = this.#choice === "auto" ? usual : this.#choice;
    if (quant === "none") return { plan: { ...plan, quant }, contents };
    const files: PlannedFile[] = [];
    const published = new Set<Quant>();
    for (const file of plan.files) {
      files.push(isWeights(file) ? await this.#packed(plan, file, quant, chunkSize, published) : file);
    }
    const [publishedQuant] = published.size > 1 ? (["mixed"] as const) : published;
    return { plan: { ...plan, quant, files, ...(publishedQuant && { publishedQuant }) }, contents };
  }

  isChosen(plan: Plan): boolean {
    return this.#choice === "auto" || this.#choice === (plan.quant ?? "none");
  }

  /** Whether the model is what the user chose, and still what its source has. */
  async isCurrent(plan: Plan): Promise<boolean> {
    return this.isChosen(plan) && this.#inner.isCurrent(plan);
  }

  open(plan: Plan, file: PlannedFile): ByteSource {
    const { packing } = file;
    if (!packing) return this.#inner.open(plan, file);
    const source = this.#inner.open(plan, original(file, packing));
    return new PackedSource(file, packing, source, this.#tools);
  }

  /** The file as it will be; its source's header has to be read for that, and adds to `published` if it is packed already. */
  async #packed(
    plan: Plan,
    file: PlannedFile,
    quant: Quant,
    chunkSize: number,
    published: Set<Quant>,
  ): Promise<PlannedFile> {
    const { path, size, sha256, validator } = file;
    const header = await readHeader(path, this.#inner.open(plan, file));
    const isCheckpoint = path === plan.checkpoint;
    const transcoder = await this.#tools.makeTranscoder({ path, isCheckpoint, size, quant }, header);
    if (!transcoder) {
      for (const format of packedFormats(header)) published.add(format);
      return file;
    }
    const { outputSize } = transcoder;
    transcoder.free();
    const source = { size, ...(sha256 && { sha256 }), ...(validator && { validator }) };
    const headerSha256 = await sha256Hex(header);
    const packing = { quant, ...(isCheckpoint && { isCheckpoint }), source, headerSha256 };
    return { path, size: outputSize, chunkSize, packing };
  }
}

function original({ path, chunkSize }: PlannedFile, { source }: Packing): PlannedFile {
  return { path, chunkSize, ...source };
}

/** The packed file; to read any of it is to read its source from the tensor on that the bytes are of. */
class PackedSource implements ByteSource {
  readonly size: number;
  readonly #path: string;
  readonly #packing: Packing;
  readonly #source: ByteSource;
  readonly #tools: PackingTools;
  #checkpoint: Promise<ArrayBuffer> | undefined;

  constructor({ path, size }: PlannedFile, packing: Packing, source: ByteSource, tools: PackingTools) {
    this.size = size;
    this.#path = path;
    this.#packing = packing;
    this.#source = source;
    this.#tools = tools;
  }

  checkpoint(): Promise<ArrayBuffer> | undefined {
    return this.#checkpoint;
  }

  async *read(range: Range, checkpoint?: ArrayBuffer): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const header = await this.#header();
    const transcoder = await this.#transcoder(header);
    // The hash of the source goes over all of it, in order, up to its end.
    const isToEnd = range.end === this.size && this.#packing.source.sha256 !== undefined;
    const saved = isToEnd ? checkpoint : undefined;
    let hash: SourceHash | undefined;
    try {
      const [first = 0, output = 0] = transcoder.begin(range.start, saved && hashedBytes(saved));
      if (isToEnd && (saved || output === 0)) hash = await this.#hash(header, saved);
      let at = output;
      let last: Taken | undefined;
      for await (const taken of this.#taken(transcoder, first, hash)) {
        const from = Math.max(0, range.start - at);
        const useful = taken.bytes.subarray(from, Math.max(from, range.end - at));
        at += taken.bytes.length;
        if (useful.length > 0) {
          if (last) yield this.#given(last);
          last = { ...taken, bytes: useful };
        }
        if (at >= range.end && !hash) break;
      }
      if (hash && (await hash.hex()) !== this.#packing.source.sha256) throw this.#damaged();
      // What is last has proved right, and so has all that came before it.
      if (last) yield this.#given(last);
    } finally {
      transcoder.free();
      hash?.end();
    }
  }

  #given({ bytes, checkpoint }: Taken): Uint8Array<ArrayBuffer> {
    this.#checkpoint = checkpoint;
    return bytes;
  }

  async #header(): Promise<Uint8Array<ArrayBuffer>> {
    const header = await readHeader(this.#path, this.#source);
    if ((await sha256Hex(header)) !== this.#packing.headerSha256) throw this.#changed();
    return header;
  }

  async #transcoder(header: Uint8Array): Promise<Transcoder> {
    const { quant, source, isCheckpoint = false } = this.#packing;
    const file = { path: this.#path, isCheckpoint, size: source.size, quant };
    const transcoder = await this.#tools.makeTranscoder(file, header);
    if (transcoder?.outputSize !== this.size) throw this.#changed();
    return transcoder;
  }

  async #hash(header: Uint8Array<ArrayBuffer>, saved: ArrayBuffer | undefined): Promise<SourceHash> {
    const hash = await this.#tools.makeHash(saved);
    if (!saved) await hash.update(header);
    return hash;
  }

  #changed(): EaselError {
    const how = "it is not what it was when the download began";
    return new EaselError("changed_file", `${this.#path} has changed at its source: ${how}`);
  }

  #damaged(): EaselError {
    const how = "its SHA-256 is not what its source says";
    return new EaselError("damaged_file", `${this.#path} arrived damaged (${how}): load again`);
  }

  /** All that comes out when the source is pushed from `first` on, each piece with the hash at where its tensor begins. */
  async *#taken(transcoder: Transcoder, first: number, hash: SourceHash | undefined): AsyncGenerator<Taken> {
    let opened = transcoder.opened;
    let checkpoint = hash?.save();
    for (const bytes of drained(transcoder)) yield { bytes, checkpoint };
    const { size } = this.#packing.source;
    if (first === size) return;
    for await (const piece of this.#source.read({ start: first, end: size })) {
      // The hash takes the piece over, as a whole wherever no tensor begins in it.
      const { length } = piece;
      let hashed = 0;
      for (let at = 0; at < length; ) {
        at += transcoder.push(piece.subarray(at, at + PIECE));
        for (const bytes of drained(transcoder)) yield { bytes, checkpoint };
        if (at < length && transcoder.opened === opened) continue;
        await hash?.update(piece.subarray(hashed, at));
        hashed = at;
        if (transcoder.opened === opened) continue;
        opened = transcoder.opened;
        checkpoint = hash?.save();
      }
    }
  }
}

/** A piece of the packed file, and what is needed to go on after it. */
interface Taken {
  bytes: Uint8Array<ArrayBuffer>;
  checkpoint: Promise<ArrayBuffer> | undefined;
}

/** How many bytes a saved hash is of: its first number. */
function hashedBytes(saved: ArrayBuffer): number {
  return Number(new DataView(saved).getBigUint64(0, true));
}

function* drained(transcoder: Transcoder): Generator<Uint8Array<ArrayBuffer>> {
  for (let bytes = transcoder.take(); bytes; bytes = transcoder.take())
    yield bytes as Uint8Array<ArrayBuffer>;
}
