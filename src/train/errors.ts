/** The loss of a batch is infinite or NaN. */
export class NonFiniteLossError extends Error {
  override readonly name = 'NonFiniteLossError';
  /** @param lr of the first parameter group */
  constructor(
    readonly epoch: number,
    readonly batch: number,
    readonly loss: number,
    readonly lr: number | undefined,
  ) {
    super(
      `epoch ${epoch}, batch ${batch}: the loss is ${loss}; try a lower learning rate (now ${lr}), clipGradNorm, and look for bad values in the data`,
    );
  }
}

/** A model's output for a sample is NaN. */
export class NotANumberError extends Error {
  override readonly name = 'NotANumberError';
  /** @param sample which one, counted from 0 in the order of the data */
  constructor(readonly sample: number) {
    super(`evaluate: sample ${sample}: the model's output is not a number (NaN)`);
  }
}
