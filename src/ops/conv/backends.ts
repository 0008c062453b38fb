/** How ops compute where there is a choice, in the manner of `torch.backends`. */
export interface Backends {
  /**
   * Convolutions of 3x3 with many channels by Winograd's F(4x4, 3x3) (Lavin & Gray 2015): up to three times
   * as fast, at an error some ten times that of direct sums (docs/numerics.md). False computes all of them
   * directly. Default: true. It holds for what is called from then on, with the gradients of that.
   *
   * @throws TypeError when set to something else than a boolean.
   */
  winograd: boolean;
}

let winograd = true;

export const backends: Backends = Object.seal({
  get winograd() {
    return winograd;
  },
  set winograd(value: boolean) {
    if (typeof value !== 'boolean')
      throw new TypeError(`backends.winograd must be true or false, got ${String(value)}`);
    winograd = value;
  },
});
