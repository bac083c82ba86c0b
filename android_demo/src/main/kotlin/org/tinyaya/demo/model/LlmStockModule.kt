package org.tinyaya.demo.model

import org.pytorch.executorch.extension.llm.LlmCallback
import org.pytorch.executorch.extension.llm.LlmModule
import org.tinyaya.demo.bundle.Bundle
import org.tinyaya.demo.bundle.Manifest
import org.tinyaya.demo.bundle.ProgramError

/** LlmModule of the ExecuTorch AAR as a [StockModule]; only calls that its releases share. */
class LlmStockModule(private val bundle: Bundle) : StockModule {
    private val module =
        guarded {
            LlmModule(
                bundle.file(bundle.manifest.program).path,
                bundle.file(Manifest.TOKENIZER).path,
                bundle.manifest.sampling.temperature.coerceIn(0.0, 1.0).toFloat(),
            )
        }

    override fun load() {
        guarded { module.load() }
    }

    override fun generate(prompt: String, length: Int, onText: (String) -> Unit, onStats: (String) -> Unit) {
        val takeStats = onStats // within the callback, onStats is the callback's own
        val callback =
            object : LlmCallback {
                override fun onResult(result: String) = onText(result)

                override fun onStats(stats: String) = takeStats(stats)
            }
        guarded { module.generate(prompt, length, callback, false) }
    }

    override fun stop() = module.stop()

    override fun reset() = module.resetContext()

    override fun close() = module.close()

    /** The AAR's own exceptions changed from release to release; all are RuntimeExceptions or links that fail. */
    private fun <T> guarded(work: () -> T): T =
        try {
            work()
        } catch (error: RuntimeException) {
            throw ProgramError("ExecuTorch does not run ${bundle.name}: ${error.message}", error)
        } catch (error: UnsatisfiedLinkError) {
            throw ProgramError("ExecuTorch is not in this app: ${error.message}", error)
        }
}
