package org.tinyaya.demo.model

import org.tinyaya.demo.bundle.Bundle
import org.tinyaya.demo.bundle.DeviceMemory
import org.tinyaya.demo.bundle.LoadGuard
import org.tinyaya.demo.bundle.Manifest
import org.tinyaya.demo.bundle.ManifestError
import org.tinyaya.demo.bundle.MemoryNeed
import org.tinyaya.demo.bundle.ProgramError
import org.tinyaya.demo.tokenizer.Tokenizer

/** What a load rests on; [stockModule] and [cacheMemory] are other ones on the JVM. */
class LoaderParts(
    val guard: LoadGuard,
    val memory: () -> DeviceMemory,
    val stockModule: (Bundle) -> StockModule,
    val cacheMemory: () -> CacheMemory,
)

/** A bundle in, a loaded [LanguageModel] out; refuses what does not fit before anything is loaded. */
class ModelLoader(private val parts: LoaderParts) {
    private val engines: Map<String, (Bundle, Tokenizer, Int) -> LanguageModel> =
        mapOf("onnx" to ::onnx, "executorch" to ::executorch)

    /** Loads with [threads]; blocks for as long as that takes. Throws BundleError. */
    fun load(bundle: Bundle, threads: Int): LanguageModel {
        val open = engines[bundle.manifest.engine]
            ?: throw ManifestError("${bundle.name} is for the engine '${bundle.manifest.engine}'; known: ${engines.keys.joinToString()}")
        MemoryNeed.check(bundle.manifest, parts.memory())
        return parts.guard.run(bundle.name) {
            try {
                val tokenizer = Tokenizer.open(bundle.file(Manifest.TOKENIZER), bundle.manifest.tokens.bos)
                open(bundle, tokenizer, threads)
            } catch (error: OutOfMemoryError) {
                throw ProgramError("there is not enough memory for ${bundle.name}; close other apps", error)
            }
        }
    }

    private fun onnx(bundle: Bundle, tokenizer: Tokenizer, threads: Int): LanguageModel {
        tokenizer.check(bundle.goldenTokens())
        return OnnxLanguageModel(bundle.manifest, tokenizer, OnnxEngine(bundle, threads, parts.cacheMemory()))
    }

    private fun executorch(bundle: Bundle, tokenizer: Tokenizer, threads: Int): LanguageModel {
        check(threads > 0)
        val module = parts.stockModule(bundle)
        try {
            module.load()
            StockTokenizerCheck(module).run(bundle.goldenTokens())
        } catch (error: org.tinyaya.demo.bundle.RunError) {
            module.close()
            throw error
        }
        return ExecuTorchLanguageModel(bundle.manifest, tokenizer, module)
    }
}
