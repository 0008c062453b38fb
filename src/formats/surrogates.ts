/**
 * @internal Whether `text` has halves of surrogate pairs, and so no bytes in UTF-8. With the flag `u` the
 * halves of a whole pair do not match.
 */
export const hasLoneSurrogates = (text: string): boolean => /\p{Surrogate}/u.test(text);
