/** Codes of the errors that arise on this side of the engine; the engine has its own (`Error::code` in Rust). */
export type PageErrorCode =
  | "network"
  | "http"
  | "forbidden"
  | "not_a_model_file"
  | "file_not_found"
  | "damaged_file"
  | "changed_file"
  | "bad_range"
  | "bad_config"
  | "bad_manifest"
  | "model_address"
  | "model_host"
  | "model_not_found"
  | "needs_files"
  | "bad_safetensors"
  | "bad_archive"
  | "bad_path"
  | "unreadable_file"
  | "bad_picture"
  | "quota"
  | "storage"
  | "cancelled"
  | "busy"
  | "disposed"
  | "bad_parameter"
  | "internal";

/** After these the engine is not to be used again. */
const FATAL = new Set(["internal", "gpu", "device_lost", "out_of_memory"]);

/**
 * An error with a stable code and a sentence for the reader. Its name is `EaselError`, and `AbortError`, as that of other
 * things that an `AbortSignal` ends, with the code `cancelled`.
 */
export class EaselError extends Error {
  override readonly name: "EaselError" | "AbortError";
  readonly code: string;

  constructor(code: PageErrorCode | (string & {}), message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = code === "cancelled" ? "AbortError" : "EaselError";
    this.code = code;
  }

  /** Whether the engine that it comes from has to be loaded again. */
  get fatal(): boolean {
    return FATAL.has(this.code);
  }
}

/** An error as it crosses between threads. */
export interface WireError {
  name: string;
  code: string;
  message: string;
}

/** Whatever was thrown, as an `EaselError`; what carries no code is a fault of ours, `internal`. */
export function asEaselError(thrown: unknown): EaselError {
  if (thrown instanceof EaselError) return thrown;
  if (thrown instanceof WebAssembly.RuntimeError) {
    return new EaselError("internal", `the engine broke down (${thrown.message}): load it again`, {
      cause: thrown,
    });
  }
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const code = "code" in error && typeof error.code === "string" ? error.code : "internal";
  return new EaselError(code, error.message, { cause: thrown });
}

export function toWire(thrown: unknown): WireError {
  const { name, code, message } = asEaselError(thrown);
  return { name, code, message };
}

export function fromWire({ code, message }: WireError): EaselError {
  return new EaselError(code, message);
}
