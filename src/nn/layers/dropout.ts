import { alphaDropout, dropout1d, dropout3d, featureAlphaDropout } from '../../ops/index.js';
import type { Tensor } from '../../tensor/tensor.js';
import { DropoutNd } from './misc.js';

/** `torch.nn.Dropout1d`: drops whole channels of `[N, C, L]` or `[C, L]`. */
export class Dropout1d extends DropoutNd {
  forward(x: Tensor): Tensor {
    return this.run(dropout1d, x);
  }
}

/** `torch.nn.Dropout3d`: drops whole channels of `[N, C, D, H, W]` or `[C, D, H, W]`. */
export class Dropout3d extends DropoutNd {
  forward(x: Tensor): Tensor {
    return this.run(dropout3d, x);
  }
}

/**
 * `torch.nn.AlphaDropout`: dropout for SELU, which keeps mean and variance. As in PyTorch, `inplace` is
 * printed and makes no difference here and in {@link FeatureAlphaDropout}.
 */
export class AlphaDropout extends DropoutNd {
  forward(x: Tensor): Tensor {
    return alphaDropout(x, this.p, { training: this.training });
  }
}

/** `torch.nn.FeatureAlphaDropout`: {@link AlphaDropout} of whole channels. */
export class FeatureAlphaDropout extends DropoutNd {
  forward(x: Tensor): Tensor {
    return featureAlphaDropout(x, this.p, { training: this.training });
  }
}
