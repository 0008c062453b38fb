/**
 * What the optimizers compute, for kernel.ts. `sign` is -1 to maximise; `decay` is the L2 factor unless said
 * otherwise.
 */
import type { UpdateRule } from './kernel.js';

/** https://pytorch.org/docs/stable/generated/torch.optim.SGD.html; `keep` is 1 - dampening. */
export function sgdRule({ momentum, nesterov }: { momentum: boolean; nesterov: boolean }): UpdateRule {
  if (!momentum) {
    return {
      name: 'sgd',
      state: [],
      hyper: ['lr', 'decay', 'sign'],
      body: 'w -= p.lr * (p.sign * g + p.decay * w);',
    };
  }
  return {
    name: nesterov ? 'sgdNesterov' : 'sgdMomentum',
    state: ['m'],
    hyper: ['lr', 'decay', 'sign', 'momentum', 'keep'],
    body: `g = p.sign * g + p.decay * w;
      m = select(p.momentum * m + p.keep * g, g, fresh);
      w -= p.lr * ${nesterov ? '(g + p.momentum * m)' : 'm'};`,
  };
}

/**
 * https://pytorch.org/docs/stable/generated/torch.optim.Adam.html and AdamW.html (`decoupled`): the host
 * computes what depends on the step, `step` = lr / (1 - beta1^t) and `root` = sqrt(1 - beta2^t). `decay` is
 * the L2 factor, or decoupled lr * decay.
 */
export function adamRule({ decoupled, amsgrad }: { decoupled: boolean; amsgrad: boolean }): UpdateRule {
  return {
    name: `adam${decoupled ? 'W' : ''}${amsgrad ? 'Amsgrad' : ''}`,
    state: amsgrad ? ['m', 'v', 'top'] : ['m', 'v'],
    hyper: ['step', 'root', 'eps', 'beta1', 'rest1', 'beta2', 'rest2', 'decay', 'sign'],
    body: `g = p.sign * g;
      ${decoupled ? 'w *= 1 - p.decay;' : 'g += p.decay * w;'}
      m = select(p.beta1 * m, vec4f(), fresh) + p.rest1 * g;
      v = select(p.beta2 * v, vec4f(), fresh) + p.rest2 * g * g;
      ${amsgrad ? 'top = select(max(top, v), v, fresh);' : ''}
      w -= p.step * (m / (sqrt(${amsgrad ? 'top' : 'v'}) / p.root + p.eps));`,
  };
}

/** https://pytorch.org/docs/stable/generated/torch.optim.RMSprop.html; `rest` is 1 - alpha. */
export function rmspropRule({ centered, momentum }: { centered: boolean; momentum: boolean }): UpdateRule {
  const state = ['v', ...(momentum ? ['m'] : []), ...(centered ? ['mean'] : [])];
  return {
    name: `rmsprop${centered ? 'Centered' : ''}${momentum ? 'Momentum' : ''}`,
    state,
    hyper: ['lr', 'decay', 'sign', 'eps', 'alpha', 'rest', 'momentum'],
    body: `g = p.sign * g + p.decay * w;
      v = select(p.alpha * v, vec4f(), fresh) + p.rest * g * g;
      ${centered ? 'mean = select(p.alpha * mean, vec4f(), fresh) + p.rest * g;' : ''}
      let scaled = g / (sqrt(${centered ? 'v - mean * mean' : 'v'}) + p.eps);
      ${momentum ? 'm = select(p.momentum * m, vec4f(), fresh) + scaled; w -= p.lr * m;' : 'w -= p.lr * scaled;'}`,
  };
}

/** https://pytorch.org/docs/stable/generated/torch.optim.Adagrad.html; `lr` is already decayed. */
export const adagradRule: UpdateRule = {
  name: 'adagrad',
  state: ['s'],
  hyper: ['lr', 'decay', 'sign', 'eps', 'initial'],
  body: `g = p.sign * g + p.decay * w;
      s = select(s, vec4f(p.initial), fresh) + g * g;
      w -= p.lr * (g / (sqrt(s) + p.eps));`,
};

/** https://pytorch.org/docs/stable/generated/torch.optim.Adadelta.html; `rest` is 1 - rho. */
export const adadeltaRule: UpdateRule = {
  name: 'adadelta',
  state: ['v', 'u'],
  hyper: ['lr', 'decay', 'sign', 'eps', 'rho', 'rest'],
  body: `g = p.sign * g + p.decay * w;
      v = select(p.rho * v, vec4f(), fresh) + p.rest * g * g;
      u = select(u, vec4f(), fresh);
      let delta = sqrt(u + p.eps) / sqrt(v + p.eps) * g;
      u = p.rho * u + p.rest * delta * delta;
      w -= p.lr * delta;`,
};

/** https://pytorch.org/docs/stable/generated/torch.optim.Adamax.html; `step` is lr / (1 - beta1^t). */
export const adamaxRule: UpdateRule = {
  name: 'adamax',
  state: ['m', 'u'],
  hyper: ['step', 'decay', 'sign', 'eps', 'beta1', 'rest1', 'beta2'],
  body: `g = p.sign * g + p.decay * w;
      m = select(p.beta1 * m, vec4f(), fresh) + p.rest1 * g;
      u = max(select(p.beta2 * u, vec4f(), fresh), abs(g) + p.eps);
      w -= p.step * (m / u);`,
};

/**
 * https://pytorch.org/docs/stable/generated/torch.optim.NAdam.html; the host computes the factors of the
 * gradient, `own`, and of the running average, `next`, and `root` = sqrt(1 - beta2^t).
 */
export const nadamRule: UpdateRule = {
  name: 'nadam',
  state: ['m', 'v'],
  hyper: ['own', 'next', 'root', 'decay', 'sign', 'eps', 'beta1', 'rest1', 'beta2', 'rest2'],
  body: `g = p.sign * g + p.decay * w;
      m = select(p.beta1 * m, vec4f(), fresh) + p.rest1 * g;
      v = select(p.beta2 * v, vec4f(), fresh) + p.rest2 * g * g;
      w -= (p.own * g + p.next * m) / (sqrt(v) / p.root + p.eps);`,
};

/**
 * https://pytorch.org/docs/stable/generated/torch.optim.RAdam.html; `step` is lr / (1 - beta1^t), and `scale`
 * is the rectification times sqrt(1 - beta2^t), or 0 while the variance is not yet known well enough.
 */
export const radamRule: UpdateRule = {
  name: 'radam',
  state: ['m', 'v'],
  hyper: ['step', 'scale', 'decay', 'sign', 'eps', 'beta1', 'rest1', 'beta2', 'rest2'],
  body: `g = p.sign * g + p.decay * w;
      m = select(p.beta1 * m, vec4f(), fresh) + p.rest1 * g;
      v = select(p.beta2 * v, vec4f(), fresh) + p.rest2 * g * g;
      w -= p.step * m * select(p.scale / (sqrt(v) + p.eps), vec4f(1), p.scale == 0);`,
};

/** https://pytorch.org/docs/stable/generated/torch.optim.Rprop.html */
export const rpropRule: UpdateRule = {
  name: 'rprop',
  state: ['last', 'size'],
  hyper: ['lr', 'sign', 'minus', 'plus', 'least', 'most'],
  body: `g *= p.sign;
      let agree = g * select(last, vec4f(), fresh);
      size = select(size, vec4f(p.lr), fresh);
      size *= select(select(vec4f(1), vec4f(p.plus), agree > vec4f()), vec4f(p.minus), agree < vec4f());
      size = clamp(size, vec4f(p.least), vec4f(p.most));
      g = select(g, vec4f(), agree < vec4f());
      w -= sign(g) * size;
      last = g;`,
};

/** https://pytorch.org/docs/stable/generated/torch.optim.ASGD.html; `shrink` is 1 - lambd * eta. */
export const asgdRule: UpdateRule = {
  name: 'asgd',
  state: ['mean'],
  hyper: ['eta', 'shrink', 'mu', 'decay', 'sign'],
  body: `g = p.sign * g + p.decay * w;
      w = p.shrink * w - p.eta * g;
      mean = select(mean + p.mu * (w - mean), w, fresh || p.mu == 1);`,
};

/**
 * Averages of weights, https://pytorch.org/docs/stable/optim.html#weight-averaging-swa-and-ema: `w` is the
 * average, `g` the model's weight, `n[0]` how many the average holds; the first is copied. Equal weights, or
 * an exponential average in which the newest weighs `rest`.
 */
export function averageRule(kind: 'equal' | 'exponential'): UpdateRule {
  const step = kind === 'equal' ? '(g - w) / f32(n[0] + 1)' : 'p.rest * (g - w)';
  return {
    name: kind === 'equal' ? 'averageEqual' : 'averageExponential',
    state: [],
    shared: ['n'],
    hyper: kind === 'equal' ? [] : ['rest'],
    body: `w = select(w + ${step}, g, n[0] == 0);`,
  };
}
