// Promise.withResolvers, which libp2p calls and Node.js has from version 22 on.

Promise.withResolvers ??= () => {
  const made = {}
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }))
  return made
}
