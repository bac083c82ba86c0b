package org.tinyaya.demo.ui

import android.app.ActivityManager
import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.os.BatteryManager
import android.os.Build
import android.os.PowerManager
import org.tinyaya.demo.bench.DeviceReading
import org.tinyaya.demo.bundle.DeviceMemory
import org.tinyaya.demo.model.Heat
import org.tinyaya.demo.model.ThreadPolicy
import java.io.File
import java.io.IOException

/** What the phone is, and what its sensors say. */
class Device(private val context: Context) {
    private val power = context.getSystemService(PowerManager::class.java)
    private val battery = context.getSystemService(BatteryManager::class.java)
    private val activities = context.getSystemService(ActivityManager::class.java)

    /** Cores of the fast clusters; half of all where the kernel does not tell. */
    val bigCores: Int by lazy {
        val cores = Runtime.getRuntime().availableProcessors()
        val frequencies = (0 until cores).mapNotNull { number("/sys/devices/system/cpu/cpu$it/cpufreq/cpuinfo_max_freq") }
        if (frequencies.size == cores) ThreadPolicy.bigCores(frequencies) else maxOf(1, cores / 2)
    }

    /** Now. */
    val heat: Heat get() = Heat.of(power.currentThermalStatus)

    /** Memory that an app may still take. */
    fun memory(): DeviceMemory {
        val info = ActivityManager.MemoryInfo()
        activities.getMemoryInfo(info)
        return DeviceMemory(info.availMem, info.threshold, info.totalMem)
    }

    /** All sensors now. */
    fun read(): DeviceReading {
        val status = context.registerReceiver(null, IntentFilter(Intent.ACTION_BATTERY_CHANGED))
        val microAmpere = battery.getIntProperty(BatteryManager.BATTERY_PROPERTY_CURRENT_NOW)
        return DeviceReading(
            residentBytes = residentBytes(),
            batteryCelsius = (status?.getIntExtra(BatteryManager.EXTRA_TEMPERATURE, 0) ?: 0) / 10.0,
            batteryMilliAmpere = microAmpere / 1000.0,
            batteryPercent = battery.getIntProperty(BatteryManager.BATTERY_PROPERTY_CAPACITY),
            heat = heat,
        )
    }

    /** For reports: no serial number, nothing of the user. */
    fun description(): Map<String, Any?> =
        mapOf(
            "manufacturer" to Build.MANUFACTURER,
            "model" to Build.MODEL,
            "hardware" to Build.HARDWARE,
            "android" to Build.VERSION.SDK_INT,
            "cores" to Runtime.getRuntime().availableProcessors(),
            "big_cores" to bigCores,
            "memory_bytes" to memory().totalBytes,
        )

    fun residentBytes(): Long {
        val pages = text("/proc/self/statm")?.split(' ')?.getOrNull(1)?.toLongOrNull() ?: return 0
        return pages * android.system.Os.sysconf(android.system.OsConstants._SC_PAGESIZE)
    }

    private fun number(path: String): Long? = text(path)?.trim()?.toLongOrNull()

    private fun text(path: String): String? =
        try {
            File(path).readText()
        } catch (_: IOException) {
            null
        }
}
