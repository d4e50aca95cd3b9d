// Which files can be models, told by their names.

/** Extension of the one format of weights that is read. */
const WEIGHTS = /\.safetensors$/i;

const OTHERS: { names: RegExp; reason: string }[] = [
  {
    names: /\.(ckpt|pth?|bin|pkl)$/i,
    reason: "is a pickle, and opening a pickle can run code: look for the same model as .safetensors",
  },
  {
    names: /\.(gguf|ggml)$/i,
    reason: "is a GGUF file, which cannot be read here: look for the same model as .safetensors",
  },
  {
    names: /\.(onnx|pb|tflite|msgpack|h5|mlmodel|engine|trt)$/i,
    reason: "is a model for another program: look for the same model as .safetensors",
  },
  {
    names: /\.(zip|7z|rar|gz|tgz|bz2|xz|zst)$/i,
    reason: "is a packed archive: unpack it, then give the folder that was in it",
  },
  {
    names: /\.(png|jpe?g|webp|gif|avif|bmp|heic|tiff?|svg)$/i,
    reason: "is a picture, not a model: give a model's folder or a .safetensors file",
  },
];

/** Whether a name is that of a safetensors file. */
export function isWeightsFile(name: string): boolean {
  return WEIGHTS.test(name);
}

/** Why a file of this name is no model that can be read here, as the end of a sentence; `undefined` for all other names. */
export function otherFormat(name: string): string | undefined {
  return OTHERS.find(({ names }) => names.test(name))?.reason;
}
