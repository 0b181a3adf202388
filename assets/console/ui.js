/** Preact with templates, and the hooks that several views use. */

import { h } from "./preact.js";
import { useCallback, useEffect, useRef, useState } from "./preact-hooks.js";
import htm from "./htm.js";

export { Fragment, render } from "./preact.js";
export { useCallback, useEffect, useId, useMemo, useRef, useState } from "./preact-hooks.js";

/** Templates: html`<p>${text}</p>`. A value is always text, never markup. */
export const html = htm.bind(h);

/**
 * Loads data when the inputs change. While a newer load runs, the older data stays.
 *
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} load
 * @param {unknown[]} inputs
 * @returns {{data: T | null, error: Error | null, loading: boolean, reload: () => void}}
 */
export function useLoad(load, inputs) {
  const [state, setState] = useState({ data: null, error: null, loading: true });
  const [round, setRound] = useState(0);
  useEffect(() => {
    const abort = new AbortController();
    const finish = (result) => {
      if (!abort.signal.aborted) setState((old) => ({ ...old, loading: false, ...result }));
    };
    setState((old) => ({ ...old, loading: true }));
    load(abort.signal).then(
      (data) => finish({ data, error: null }),
      (error) => finish({ error }),
    );
    return () => abort.abort();
  }, [...inputs, round]);
  const reload = useCallback(() => setRound((old) => old + 1), []);
  return { ...state, reload };
}

/**
 * Runs one action at a time, such as a write.
 *
 * @returns {{run: (action: () => Promise<void>) => Promise<void>, busy: boolean,
 *   error: Error | null, setError: (error: Error | null) => void}}
 */
export function useAction() {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const running = useRef(false);
  const run = async (action) => {
    if (running.current) return;
    running.current = true;
    setBusy(true);
    setError(null);
    try {
      await action();
    } catch (caught) {
      setError(caught);
    } finally {
      running.current = false;
      setBusy(false);
    }
  };
  return { run, busy, error, setError };
}

/** A reference to an element that gets the focus when it appears. */
export function useFocus() {
  const element = useRef(null);
  useEffect(() => element.current?.focus(), []);
  return element;
}
