// ComfyUI's graphs: of the nodes that drew a picture, the fields that a form has. A graph can be anything; what is not
// found here is left out.

type Values = Record<string, unknown>;

interface Node {
  type: string;
  inputs: Values;
}

/** Order of a node's `widgets_values` in a saved `workflow`, where the `prompt` has names. */
const WIDGETS: Record<string, readonly string[]> = {
  KSampler: ["seed", "", "steps", "cfg", "sampler_name", "scheduler", "denoise"],
  KSamplerAdvanced: ["", "noise_seed", "", "steps", "cfg", "sampler_name", "scheduler"],
  CLIPTextEncode: ["text"],
  EmptyLatentImage: ["width", "height"],
  CheckpointLoaderSimple: ["ckpt_name"],
};
/** Most nodes between a sampler and what it starts from. */
const DEEPEST = 20;

/** Fields of the first sampler of a graph, which is ComfyUI's `prompt` or its `workflow`; `undefined` without one. */
export function comfyFields(graph: Values): Values | undefined {
  const nodes = Array.isArray(graph.nodes) ? ofWorkflow(graph) : ofPrompt(graph);
  const sampler = [...nodes.values()].find(
    ({ inputs }) => "steps" in inputs && ("cfg" in inputs || "positive" in inputs),
  );
  if (!sampler) return undefined;
  const { steps, cfg, sampler_name, scheduler, denoise, positive, negative } = sampler.inputs;
  const value = (input: unknown, names: readonly string[], via = "") =>
    found(nodes, input, { names, via }, DEEPEST);
  const latent = sampler.inputs.latent_image;
  const texts = ["text", "text_g", "string", "value"];
  return {
    prompt: value(positive, texts, "positive"),
    negative_prompt: value(negative, texts, "negative"),
    steps: value(steps, ["steps", "value"]),
    cfg: value(cfg, ["cfg", "value"]),
    sampler_name: value(sampler_name, ["sampler_name"]),
    scheduler: value(scheduler, ["scheduler"]),
    seed: value(sampler.inputs.seed ?? sampler.inputs.noise_seed, ["seed", "noise_seed", "value"]),
    denoise,
    width: value(latent, ["width", "value"]),
    height: value(latent, ["height", "value"]),
    model: value(sampler.inputs.model, ["ckpt_name", "unet_name"]),
  };
}

function ofPrompt(graph: Values): Map<string, Node> {
  const nodes = new Map<string, Node>();
  for (const [id, node] of Object.entries(graph)) {
    const { class_type: type, inputs } = record(node);
    if (typeof type === "string") nodes.set(id, { type, inputs: record(inputs) });
  }
  return nodes;
}

/** A workflow has its values by order, and its links in a table of `[id, from node, from slot, …]`. */
function ofWorkflow(graph: Values): Map<string, Node> {
  const links = new Map(list(graph.links).map((link) => [list(link)[0], list(link).slice(1, 3)]));
  const nodes = new Map<string, Node>();
  for (const node of list(graph.nodes)) {
    const { id, type, inputs, widgets_values } = record(node);
    if (typeof type !== "string") continue;
    const names = Object.hasOwn(WIDGETS, type) ? WIDGETS[type] : undefined;
    const values = list(widgets_values);
    const widgets = names?.map((name, at) => [name, values[at]] as const).filter(([name]) => name) ?? [];
    const linked = list(inputs).map((input) => [record(input).name, links.get(record(input).link)] as const);
    const wired = linked.filter(([name, link]) => typeof name === "string" && link);
    nodes.set(String(id), { type, inputs: Object.fromEntries([...widgets, ...wired]) });
  }
  return nodes;
}

/** What to look for, and the input to follow where a node has more than one. */
interface Search {
  names: readonly string[];
  via: string;
}

/** An input's value: itself, or what the nodes before it have under one of the names, the nearest first. */
function found(nodes: Map<string, Node>, input: unknown, search: Search, depth: number): unknown {
  if (!Array.isArray(input)) return input;
  const node = nodes.get(String(input[0]));
  if (!node || depth === 0) return undefined;
  const name = search.names.find((each) => Object.hasOwn(node.inputs, each));
  if (name !== undefined) return found(nodes, node.inputs[name], search, depth - 1);
  // Between text and sampler lie nodes that carry on what one of their inputs brings.
  const next = [node.inputs[search.via], ...Object.values(node.inputs)].find(Array.isArray);
  return next && found(nodes, next, search, depth - 1);
}

function record(value: unknown): Values {
  return typeof value === "object" && value !== null ? (value as Values) : {};
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}
