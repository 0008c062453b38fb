/**
 * WGSL that joins the values of a team, threads numbered `member`, in a tree through workgroup memory: the
 * first one then has what all have. All threads of the workgroup must come here.
 *
 * @param half half the team, a power of two
 * @param store puts a thread's value into its slot of workgroup memory
 * @param merge takes in the value of the member that is `h` behind
 */
export const joinInTree = (half: string, store: string, merge: string): string => `${store}
  workgroupBarrier();
  for (var h = ${half}; h > 0u; h = h >> 1u) {
    if (member < h) {
      ${merge}
      ${store}
    }
    workgroupBarrier();
  }`;
