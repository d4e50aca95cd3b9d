// A run of the form: one picture, or several one after another from neighbouring seeds.

import type { EngineClient } from "../client/engine_client.ts";
import { Pace } from "../shared/pace.ts";
import type { GenerateEvent, GenerateParams, Outcome } from "../shared/protocol.ts";
import { announceFinished, announceOffered, type FinishedPicture } from "./finished.ts";
import type { Replay } from "./process/replay.ts";
import { Take } from "./process/take.ts";
import { addToSeries, beginSeries } from "./series.ts";
import { beginPicture, endPicture, offerDownload, showStage, withdrawDownload } from "./stage.ts";
import { hideProgress, PartsProgress, showProgress, showStatus, showStep, showWarnings } from "./status.ts";

/**
 * Draws `count` pictures, says how it ended, and returns how many were finished; throws what the engine throws. Aborting
 * `signal` ends all of them.
 */
export async function draw(
  client: EngineClient,
  params: GenerateParams,
  count: number,
  replay: Replay,
  signal: AbortSignal,
): Promise<number> {
  showWarnings([]);
  showStage();
  const progress = new SeriesProgress(count);
  for (let done = 0; done < count; done += 1) {
    const take = new Take({ ...params, seed: params.seed + done });
    progress.begin(done);
    const onEvent = (event: GenerateEvent) => {
      progress.show(event);
      if (event.type === "started") {
        if (done === 0) beginRun(count);
        beginPicture(params.prompt, params.width, params.height);
        replay.show(take, { live: true });
      }
      follow(take, event, replay);
    };
    const outcome = await client.request("generate", take.params, { onEvent, signal });
    endPicture();
    if (outcome.type === "finished") finish(take, outcome, replay);
    const finished = outcome.type === "finished" ? done + 1 : done;
    if (outcome.type === "stopped" || (signal.aborted && finished < count)) {
      sayStopped(outcome, finished, count);
      return finished;
    }
  }
  sayDone(params, count);
  return count;
}

/** Takes away what is left of the run before, once the engine has taken the prompt: one that it refuses costs nothing. */
function beginRun(count: number): void {
  beginSeries(count);
  withdrawDownload();
  announceOffered(undefined);
}

function follow(take: Take, event: GenerateEvent, replay: Replay): void {
  if (event.type === "started") take.add({ kind: "noise" }, event.picture);
  else if (event.type === "step") take.add({ ...event, kind: "step" }, event.picture);
  else return;
  replay.grew(take);
}

function finish(
  take: Take,
  { width, height, png, picture }: Extract<Outcome, { type: "finished" }>,
  replay: Replay,
): void {
  take.png = png;
  take.add({ kind: "picture", width, height }, picture);
  replay.grew(take);
  const finished: FinishedPicture = { params: take.params, width, height, png, take };
  offer(finished);
  addToSeries(finished, () => {
    replay.show(take);
    offer(finished);
  });
  announceFinished(finished);
}

function offer(picture: FinishedPicture): void {
  const { prompt, seed } = picture.params;
  offerDownload(picture.png, prompt, seed);
  announceOffered(picture);
}

function sayDone({ width, height, seed }: GenerateParams, count: number): void {
  showStatus("Done");
  const size = `${width}×${height}`;
  hideProgress(count === 1 ? `${size} · seed ${seed}` : `${size} · seeds ${seed} to ${seed + count - 1}`);
}

function sayStopped(outcome: Outcome, done: number, count: number): void {
  showStatus("Stopped");
  if (count > 1) hideProgress(`after ${done} of ${count} pictures`);
  else if (outcome.type === "stopped") hideProgress(`after ${outcome.index} of ${outcome.total} steps`);
}

/** Says where a run is; the time left is that of all its pictures. */
class SeriesProgress {
  readonly #count: number;
  #done = 0;
  #pace: Pace | undefined;
  readonly #parts = new PartsProgress();

  constructor(count: number) {
    this.#count = count;
  }

  begin(done: number): void {
    this.#done = done;
    showStatus("Reading the prompt");
    showProgress("");
  }

  show(event: GenerateEvent): void {
    if (event.type === "prepare") {
      // What keeps the first picture waiting on a new adapter.
      showStatus(event.stage === "measuring" ? "Getting to know the GPU, once" : "Compiling for the GPU");
      this.#parts.show(event);
    } else if (event.type === "started") {
      this.#pace ??= new Pace(event.total * this.#count, performance.now());
      showStatus(this.#count === 1 ? "Drawing" : `Drawing picture ${this.#done + 1} of ${this.#count}`);
      showWarnings(event.warnings);
      showStep(0, event.total, this.#pace.secondsLeft());
    } else if (event.type === "step") {
      this.#pace?.step(performance.now());
      showStep(event.index, event.total, this.#pace?.secondsLeft());
    } else {
      showStatus("Decoding the picture");
      showProgress("");
    }
  }
}
