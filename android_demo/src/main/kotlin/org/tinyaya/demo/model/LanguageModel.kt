package org.tinyaya.demo.model

import org.tinyaya.demo.bundle.SamplingDefaults

/** Why an answer ended. */
enum class StopReason { STOP_TOKEN, MAX_TOKENS, CONTEXT, STOPPED }

/**
 * What an answer may be: at most [maxTokens] long, drawn as [sampling] says.
 *
 * [ignoresStop]: a stop token does not end it, for measurements; ExecuTorch's runner always stops.
 */
data class GenerationOptions(
    val maxTokens: Int,
    val sampling: SamplingDefaults,
    val seed: Long,
    val ignoresStop: Boolean = false,
)

/** All that was generated; times in ms, [decodeTokensPerSecond] of the steps after the first token. */
data class Generation(
    val text: String,
    val promptTokens: Int,
    val generatedTokens: Int,
    val stopReason: StopReason,
    val firstTokenMs: Double,
    val prefillMs: Double,
    val decodeTokensPerSecond: Double,
)

/** Told of the way of an answer, on the thread that generates. */
interface GenerationListener {
    /** [done] of [total] tokens of the prompt are read. */
    fun onPrompt(done: Int, total: Int)

    /** A piece of the answer; whole characters, pieces joined are the answer. */
    fun onText(piece: String)

    /** How long to rest before the next token, in ms: a hot phone answers slower. */
    fun restMs(): Long
}

/**
 * A loaded bundle that continues a prompt; what the app knows of either engine.
 *
 * All calls come from one thread, but [stop], which comes from any.
 */
interface LanguageModel : AutoCloseable {
    /** Positions that prompt and answer share. */
    val contextTokens: Int

    /** Whether the number of threads is chosen when it is loaded; else rests between tokens cool a hot phone. */
    val hasOwnThreads: Boolean

    /** How many positions [prompt] takes. Throws PromptError. */
    fun countTokens(prompt: String): Int

    /** Continues [prompt]. Throws PromptError before any work, and ProgramError. */
    fun generate(prompt: String, options: GenerationOptions, listener: GenerationListener): Generation

    /** Ends the answer under way after its next token; it is returned as it is. */
    fun stop()

    /** Frees the model; a second call does nothing. */
    override fun close()
}
