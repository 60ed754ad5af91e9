// The page's own API. Errors come as words that can be shown to people.

async function call(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The dashboard's server cannot be reached.");
  }
  const answer = await response.json().catch(() => ({ error: `The dashboard's server answered ${response.status}.` }));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

export const get = (path) => call(path);
export const post = (path, data) =>
  call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(data) });

// Calls heard(update) for everything that happens, and lost() while the dashboard's server is away. It always reconnects.
export function listen(heard, lost) {
  const source = new EventSource("/api/events");
  source.onmessage = (event) => heard(JSON.parse(event.data));
  source.onerror = () => {
    lost();
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 3000, heard, lost); // given up by the browser
  };
}
