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
  | "internal";

/** An error with a stable code and a sentence for the reader. */
export class EaselError extends Error {
  override readonly name = "EaselError";
  readonly code: string;

  constructor(code: PageErrorCode | (string & {}), message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
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
